package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

const (
	// silence is how long a live stream may send nothing, not even a sign of life,
	// before it is closed and opened again.
	silence = 45 * time.Second
	// followAgain is the pause between tries to reach a relay whose stream has ended.
	followAgain = time.Second
	// mostCaughtUp bounds how many events are shown of those that came while the
	// connection was broken.
	mostCaughtUp = 1000
)

// follow prints the newest events and then each that comes or changes, until the
// administrator breaks off.
func follow(i *invocation, client *adminClient, filter url.Values, wanted int) error {
	printer := newFollower(i)
	lost := false
	for {
		// First the stream and then the list, so that nothing is lost in between.
		stream, err := client.live(i.context, filter)
		if err == nil {
			var list api.ActivityPage
			list, err = client.activity(i.context, filter, wanted, i.progress())
			if err == nil && lost {
				fmt.Fprintln(i.report, "Connected again.")
			}
			if err == nil {
				err = printer.print(list.Events)
			}
			lost, wanted = false, mostCaughtUp
			for err == nil {
				var batch inspect.LiveBatch
				if batch, err = stream.next(); err == nil {
					if batch.Missed {
						fmt.Fprintln(i.report, "More happened than can be followed; some events are not shown here. List them with: "+names.Command("activity"))
					}
					slices.Reverse(batch.Events)
					err = printer.print(batch.Events)
				}
			}
			stream.close()
		}
		var refused *refusal
		switch {
		case i.context.Err() != nil:
			return nil
		case !printer.began, errors.Is(err, errWriting):
			return err
		case errors.As(err, &refused) && refused.status < http.StatusInternalServerError && refused.status != http.StatusNotFound:
			return err
		}
		if !lost {
			fmt.Fprintln(i.report, "The connection to the relay ended, by a reload or a stop; trying again.")
			lost = true
		}
		select {
		case <-i.context.Done():
			return nil
		case <-time.After(followAgain):
		}
	}
}

var errWriting = errors.New("writing the activity")

// follower prints events in the order in which they come.
type follower struct {
	i     *invocation
	began bool
	table *table
	// printed holds what was printed last of an event, so that nothing comes
	// twice. It is bounded: order holds its keys, oldest first.
	printed map[string]string
	order   []string
}

// mostPrinted is how many events are remembered.
const mostPrinted = 10_000

func newFollower(i *invocation) *follower {
	return &follower{i: i, printed: map[string]string{}}
}

// print prints events, newest first as the relay lists them, oldest first.
func (f *follower) print(events []queue.Summary) error {
	var b strings.Builder
	if !f.began && !f.i.Bool("json") {
		f.i.noteZone()
		f.table = activityTable(events, terminalWidth(f.i.out))
		f.table.line(&b, f.table.header)
		if len(events) == 0 {
			fmt.Fprintln(f.i.report, "No events yet; waiting for the first.")
		}
	}
	f.began = true
	for _, event := range slices.Backward(events) {
		line, err := f.line(event)
		if err != nil {
			return err
		}
		if f.printed[event.ID] == line {
			continue
		}
		f.remember(event.ID, line)
		b.WriteString(line)
	}
	if _, err := io.WriteString(f.i.out, b.String()); err != nil {
		return fmt.Errorf("%w: %w", errWriting, err)
	}
	return nil
}

func (f *follower) line(event queue.Summary) (string, error) {
	if f.table == nil {
		line, err := json.Marshal(event)
		return string(line) + "\n", err
	}
	var b strings.Builder
	cells, below := activityRow(event, f.table.most)
	f.table.line(&b, tableRow(cells))
	f.table.lineBelow(&b, below)
	return b.String(), nil
}

func (f *follower) remember(id, line string) {
	if _, known := f.printed[id]; !known {
		if f.order = append(f.order, id); len(f.order) > mostPrinted {
			delete(f.printed, f.order[0])
			f.order = f.order[1:]
		}
	}
	f.printed[id] = line
}

// liveStream is the relay's stream of events that come or change.
type liveStream struct {
	body   io.ReadCloser
	reader *bufio.Reader
	// alive ends the stream when it fires; each line that is read resets it.
	alive *time.Timer
	end   context.CancelFunc
}

// live opens a stream of the events that a filter passes.
func (c *adminClient) live(ctx context.Context, filter url.Values) (*liveStream, error) {
	query := url.Values{}
	for key := range filter {
		if key != "since" {
			query.Set(key, filter.Get(key))
		}
	}
	ctx, end := context.WithCancel(ctx)
	response, err := c.open(ctx, http.MethodGet, "live", query, nil)
	if err != nil {
		end()
		return nil, err
	}
	return &liveStream{
		body: response.Body, reader: bufio.NewReader(response.Body),
		alive: time.AfterFunc(silence, end), end: end,
	}, nil
}

// next returns the next batch, and an error when the stream has ended.
func (s *liveStream) next() (inspect.LiveBatch, error) {
	var data strings.Builder
	for {
		line, err := s.reader.ReadString('\n')
		if err != nil {
			return inspect.LiveBatch{}, fmt.Errorf("following the activity: %w", err)
		}
		s.alive.Reset(silence)
		line = strings.TrimRight(line, "\r\n")
		if text, isData := strings.CutPrefix(line, "data:"); isData {
			if data.Len() > 0 {
				data.WriteByte('\n')
			}
			data.WriteString(strings.TrimPrefix(text, " "))
		}
		if line != "" || data.Len() == 0 {
			continue
		}
		var batch inspect.LiveBatch
		if err := json.Unmarshal([]byte(data.String()), &batch); err != nil {
			return inspect.LiveBatch{}, fmt.Errorf("following the activity: %w", err)
		}
		return batch, nil
	}
}

func (s *liveStream) close() {
	s.alive.Stop()
	s.end()
	s.body.Close()
}
