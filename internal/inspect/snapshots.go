package inspect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pmezard/go-difflib/difflib"

	"github.com/caddy-event-relay/event-relay/caddymodule/caddyfile/printer"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

const (
	// mostSnapshots bounds how many snapshots are listed, the newest.
	mostSnapshots = 1000
	// longestDiff bounds the texts that are compared, in lines: comparing takes
	// a time that can grow with their product.
	longestDiff = 20_000
)

// Snapshot is a configuration that was loaded, without secrets.
type Snapshot struct {
	// ID is that of the note that holds it; Digest is the same for equal ones.
	ID     int64     `json:"id"`
	Digest string    `json:"digest"`
	Loaded time.Time `json:"loaded"`
	// Node is the node that loaded it, empty if the queue is not shared.
	Node string `json:"node,omitempty"`
	// Text is the configuration as indented JSON, and Caddyfile as an event_relay
	// block, which is empty if a Caddyfile cannot say it. Changes is how it differs
	// from the one before as a unified diff, of the Caddyfile if both have one.
	// Moved says that nothing differs but where it is written. All four are only
	// in FindSnapshot, not in Snapshots.
	Text      string `json:"text,omitempty"`
	Caddyfile string `json:"caddyfile,omitempty"`
	Changes   string `json:"changes,omitempty"`
	Moved     bool   `json:"moved,omitempty"`
}

// Snapshots lists the configurations that were loaded, newest first.
func Snapshots(ctx context.Context, runtime *relay.Runtime) ([]Snapshot, error) {
	notes, err := runtime.Store().Notes(ctx, queue.NoteConfiguration, time.Time{}, time.Time{}, mostSnapshots, false)
	if err != nil {
		return nil, fmt.Errorf("listing snapshots of the configuration: %w", err)
	}
	snapshots := make([]Snapshot, len(notes))
	for i, note := range notes {
		snapshots[i] = snapshotOf(note)
	}
	return snapshots, nil
}

func snapshotOf(note queue.Note) Snapshot {
	return Snapshot{ID: note.ID, Digest: note.Name, Loaded: note.At, Node: note.Node}
}

// FindSnapshot returns one of them, with what it says and what changed. It wraps
// queue.ErrNotFound.
func FindSnapshot(ctx context.Context, runtime *relay.Runtime, id int64) (Snapshot, error) {
	fail := func(err error) (Snapshot, error) {
		return Snapshot{}, fmt.Errorf("reading snapshot %d of the configuration: %w", id, err)
	}
	notes, err := runtime.Store().Notes(ctx, queue.NoteConfiguration, time.Time{}, time.Time{}, mostSnapshots, false)
	if err != nil {
		return fail(err)
	}
	at := slices.IndexFunc(notes, func(note queue.Note) bool { return note.ID == id })
	if at < 0 {
		return fail(queue.ErrNotFound)
	}
	snapshot := snapshotOf(notes[at])
	if snapshot.Text, err = textOf(ctx, runtime, notes[at]); err != nil {
		return fail(err)
	}
	before := ""
	if earlier := noteOf(notes[at+1:], notes[at].Node); earlier >= 0 {
		if before, err = textOf(ctx, runtime, notes[at+1+earlier]); err != nil {
			return fail(err)
		}
	}
	snapshot.Caddyfile = caddyfileOf(snapshot.Text)
	if old := caddyfileOf(before); old != "" && snapshot.Caddyfile != "" {
		snapshot.Changes, err = changes(old, snapshot.Caddyfile)
		snapshot.Moved = old == snapshot.Caddyfile && before != snapshot.Text
	} else {
		snapshot.Changes, err = changes(before, snapshot.Text)
	}
	if err != nil {
		return fail(err)
	}
	return snapshot, nil
}

// noteOf returns where the newest note of a node is in a list, -1 if there is none.
func noteOf(notes []queue.Note, node string) int {
	return slices.IndexFunc(notes, func(note queue.Note) bool { return note.Node == node })
}

// caddyfileOf returns a snapshot as an event_relay block, "" if it cannot be one.
func caddyfileOf(text string) string {
	var settings config.Relay
	if json.Unmarshal([]byte(text), &settings) != nil {
		return ""
	}
	written, err := printer.Relay(&settings)
	if err != nil {
		return ""
	}
	return written
}

// textOf returns what a note of a configuration says, indented. Notes of one
// name say the same: it is a digest of what they say.
func textOf(ctx context.Context, runtime *relay.Runtime, note queue.Note) (string, error) {
	whole, err := runtime.Store().FindNote(ctx, note.Kind, note.Name)
	if err != nil {
		return "", err
	}
	return indented(whole.Text), nil
}

// indented returns JSON such that it can be read and compared line by line.
func indented(text string) string {
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(text), "", "  "); err != nil {
		return text
	}
	out.WriteByte('\n')
	return out.String()
}

// changes returns how a text differs from the one before, as a unified diff.
func changes(before, after string) (string, error) {
	if before == "" || before == after {
		return "", nil
	}
	old, now := difflib.SplitLines(before), difflib.SplitLines(after)
	if len(old)+len(now) > longestDiff {
		return "", nil
	}
	return difflib.GetUnifiedDiffString(difflib.UnifiedDiff{A: old, B: now, FromFile: "before", ToFile: "after", Context: 3})
}

// ExplainThen says what the configuration that was in force when a stored event
// was received, on the node that received it, does about it, at the time of receipt. Its secrets are not known any more and show as
// ***.
func ExplainThen(ctx context.Context, runtime *relay.Runtime, id string) (Explanation, Snapshot, error) {
	fail := func(err error) (Explanation, Snapshot, error) {
		return Explanation{}, Snapshot{}, fmt.Errorf("explaining an event by the configuration of its time: %w", err)
	}
	e, node, err := findOf(ctx, runtime, id)
	if err != nil {
		return Explanation{}, Snapshot{}, err
	}
	generation := runtime.Generation()
	if generation == nil {
		return fail(relay.ErrNotInService)
	}
	notes, err := runtime.Store().Notes(ctx, queue.NoteConfiguration, time.Time{}, e.Received.Add(1), mostSnapshots, false)
	if err != nil {
		return fail(err)
	}
	at := noteOf(notes, node)
	if at < 0 {
		of := ""
		if node != "" {
			of = " of node " + node
		}
		return fail(fmt.Errorf("no configuration%s is kept from %s or before: %w", of, e.Received.Format(time.RFC3339), queue.ErrNotFound))
	}
	note := notes[at]
	whole, err := runtime.Store().FindNote(ctx, note.Kind, note.Name)
	if err != nil {
		return fail(err)
	}
	then, err := generation.DryRun(json.RawMessage(whole.Text))
	if err == nil {
		then, err = then.At(e.Received)
	}
	if err != nil {
		return fail(fmt.Errorf("the configuration loaded at %s cannot be read any more: %w", note.At.Format(time.RFC3339), err))
	}
	return explain(then, []*event.Event{e}), snapshotOf(note), nil
}
