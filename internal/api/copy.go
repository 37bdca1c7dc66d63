package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/replay"
)

// copying holds a token while a backup or merge is under way: one at a time,
// because each takes as much of the disk as the queue does.
var copying = make(chan struct{}, 1)

// copyPatience is how long a call waits for another to end. A client that has
// read all of a backup may call again before the server has removed its copy.
const copyPatience = time.Second

// copyPattern names the directories that hold a copy while it is sent or read.
// They lie beside the queue, so that a copy is on a disk that was chosen for as
// much data. What is called so is removed: it must be no name that people give
// to copies of theirs.
const copyPattern = ".unfinished-copy-*"

// spare is how much of the disk a copy leaves at least, so that there is room
// for events.
const spare = 256 << 20

// withCopy calls do with the name of a file that does not exist and is removed
// afterwards, and with how many bytes it may take.
func (c *call) withCopy(do func(file string, most int64) error) error {
	select {
	case copying <- struct{}{}:
	case <-time.After(copyPatience):
		return &Error{Status: http.StatusServiceUnavailable, Err: errors.New("copying the queue: another backup or merge is under way; try again when it is done")}
	}
	defer func() { <-copying }()
	usage := c.Runtime.Store().Usage()
	// What a crash left.
	left, _ := filepath.Glob(filepath.Join(usage.Dir, copyPattern))
	for _, directory := range left {
		_ = os.RemoveAll(directory)
	}
	directory, err := os.MkdirTemp(usage.Dir, copyPattern)
	if err != nil {
		return fmt.Errorf("copying the queue: making a directory for the copy: %w", err)
	}
	defer os.RemoveAll(directory)
	most := int64(1) << 40
	if usage.Free >= 0 {
		most = max(0, usage.Free-spare)
	}
	return do(filepath.Join(directory, "event-relay.backup"), most)
}

// backup answers with a consistent copy of the queue.
func backup(c *call) error {
	engine, can := c.Runtime.Store().(queue.Backuper)
	if !can {
		return c.noCopies("backing up")
	}
	return c.withCopy(func(file string, most int64) error {
		if size := c.Runtime.Store().Usage().Bytes; size > most {
			return &Error{Status: http.StatusInsufficientStorage, Err: fmt.Errorf(
				"backing up: the copy takes up to %d bytes beside the queue, and %d can be had; make room on that disk", size, most)}
		}
		if err := engine.Backup(c.r.Context(), file); err != nil {
			return err
		}
		written, err := os.Open(file)
		if err != nil {
			return fmt.Errorf("backing up: %w", err)
		}
		defer written.Close()
		about, err := written.Stat()
		if err != nil {
			return fmt.Errorf("backing up: %w", err)
		}
		header(c.w, "application/octet-stream")
		c.w.Header().Set("Content-Length", strconv.FormatInt(about.Size(), 10))
		c.w.Header().Set("Content-Disposition", `attachment; filename="event-relay-`+c.now().Format("2006-01-02-150405")+`.backup"`)
		out := c.flushing()
		defer out.close()
		// A copy that is cut short does not have the length that was said.
		_, _ = io.Copy(out, &until{ctx: c.r.Context(), reader: written})
		return nil
	})
}

// until reads until a context is done.
type until struct {
	ctx    context.Context
	reader io.Reader
}

func (u *until) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.reader.Read(b)
}

// noCopies is the answer where the engine has no files of its own. It comes before
// anything is made or read for a copy: such a queue need not have a directory.
func (c *call) noCopies(doing string) error {
	advice := "use the tools of its database"
	if server := c.Runtime.Store().Usage().Server; server != nil && server.Backup != "" {
		advice = fmt.Sprintf("copy it with `%s`, and put the copy back with `%s`", server.Backup, server.Restore)
	}
	return &Error{Status: http.StatusNotImplemented, Err: fmt.Errorf("%s: the queue is in a database server, of which the relay neither writes nor reads copies; %s", doing, advice)}
}

// Merged says what a merge added to the history.
type Merged struct {
	Events int `json:"events"`
}

// merge adds a backup, which is the body of the request, to the history.
func merge(c *call) error {
	engine, can := c.Runtime.Store().(queue.Merger)
	if !can {
		return c.noCopies("adding a backup to the history")
	}
	return c.withCopy(func(file string, most int64) error {
		if err := c.upload(file, most); err != nil {
			return err
		}
		return c.long(func(ctx context.Context, progress func(replay.Progress)) (any, error) {
			added, err := engine.Merge(ctx, file, func(done, total int64) {
				progress(replay.Progress{Done: int(done), Total: int(total)})
			})
			return Merged{Events: added}, err
		})
	})
}

// upload stores the body of the request.
func (c *call) upload(file string, most int64) error {
	created, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("storing the upload: %w", err)
	}
	defer created.Close()
	body := &patient{body: http.MaxBytesReader(c.w, c.r.Body, most), control: http.NewResponseController(c.w)}
	n, err := io.Copy(created, body)
	// Go watches a connection for its end while it answers, and would take a time
	// limit for that.
	_ = body.control.SetReadDeadline(time.Time{})
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return &Error{Status: http.StatusInsufficientStorage, Err: fmt.Errorf("storing the upload: it is larger than the %d bytes that can be had beside the queue; make room on that disk", most)}
	case body.err != nil:
		return wrong("", "storing the upload: it breaks off: %w", body.err)
	case err != nil:
		return fmt.Errorf("storing the upload: %w", err)
	case n == 0:
		return wrong("", "storing the upload: it is empty; send the backup as the body of the request")
	}
	if err := created.Close(); err != nil {
		return fmt.Errorf("storing the upload: %w", err)
	}
	return nil
}

// patient reads a body that takes longer than the server gives requests, as long
// as something comes.
type patient struct {
	body    io.Reader
	control *http.ResponseController
	err     error
}

func (p *patient) Read(b []byte) (int, error) {
	_ = p.control.SetReadDeadline(time.Now().Add(writeTime))
	n, err := p.body.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		p.err = err
	}
	return n, err
}
