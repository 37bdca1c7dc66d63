package command

import (
	"fmt"
	"io"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/replay"
)

// How often progress is shown: in place on a terminal, as lines elsewhere.
const (
	progressInPlace = 100 * time.Millisecond
	progressAsLines = 5 * time.Second
)

// progress shows how far long work is. Work that ends before the first interval
// prints nothing.
type progress struct {
	out   io.Writer
	every time.Duration
	shown time.Time
	// inPlace says that each line takes the place of the one before.
	inPlace, dirty bool
}

func (i *invocation) progress() *progress {
	p := &progress{out: i.report, every: progressAsLines, shown: time.Now()}
	if isTerminal(i.report) {
		p.inPlace, p.every = true, progressInPlace
	}
	return p
}

// show shows a line, unless the last one is too fresh.
func (p *progress) show(line string) {
	now := time.Now()
	if now.Sub(p.shown) < p.every {
		return
	}
	p.shown = now
	if p.inPlace {
		fmt.Fprintf(p.out, "\r%s\x1b[K", line)
		p.dirty = true
		return
	}
	fmt.Fprintln(p.out, line)
}

// counting returns what shows the progress of work as a number of things.
func (p *progress) counting(what string) func(replay.Progress) {
	return func(far replay.Progress) { p.show(progressText(what, far)) }
}

func progressText(what string, far replay.Progress) string {
	if far.Total > 0 {
		return fmt.Sprintf("%s: %d of %d (%d %%)", what, far.Done, far.Total, 100*far.Done/far.Total)
	}
	return fmt.Sprintf("%s: %d", what, far.Done)
}

// end takes away what stands on the terminal, so that the next line is whole.
func (p *progress) end() {
	if p.dirty {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.dirty = false
	}
}
