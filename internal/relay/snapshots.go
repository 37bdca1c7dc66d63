package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pmezard/go-difflib/difflib"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/queue"
)

const (
	// mostSnapshots bounds how many snapshots are listed, the newest.
	mostSnapshots = 1000
	// noteWithin bounds how long a reload waits for its snapshot to be stored.
	noteWithin = 5 * time.Second
	// longestDiff bounds the texts that are compared, in lines: comparing takes
	// a time that can grow with their product.
	longestDiff = 20_000
)

// Snapshot is a configuration that was loaded, without secrets.
type Snapshot struct {
	// ID is that of the note that holds it; Digest tells equal ones.
	ID     int64     `json:"id"`
	Digest string    `json:"digest"`
	Loaded time.Time `json:"loaded"`
	// Text is the configuration as indented JSON, and Changes how it differs
	// from the one before, as a unified diff. Both only in Snapshot, not in
	// Snapshots.
	Text    string `json:"text,omitempty"`
	Changes string `json:"changes,omitempty"`
}

// inForce says since when a configuration has been the newest.
type inForce struct {
	since  time.Time
	digest string
}

// remember notes that a generation is in force from now on, unless the newest
// note says that it was already. A configuration that cannot be noted works all
// the same. The caller holds the mutex.
func (r *Runtime) remember(generation *Generation) {
	now := time.Now()
	r.inForce = inForce{since: now}
	text := generation.Configuration.Snapshot
	if len(text) == 0 {
		return
	}
	sum := sha256.Sum256(text)
	digest := hex.EncodeToString(sum[:])[:12]
	r.inForce.digest = digest
	ctx, cancel := context.WithTimeout(context.Background(), noteWithin)
	defer cancel()
	newest, err := r.engine.Notes(ctx, queue.NoteConfiguration, time.Time{}, time.Time{}, 1, false)
	if err == nil && (len(newest) == 0 || newest[0].Name != digest) {
		err = r.engine.Note(ctx, queue.Note{At: now, Kind: queue.NoteConfiguration, Name: digest, Text: string(text)})
	}
	if err != nil {
		r.logger.Error("keeping a snapshot of the configuration; nobody can ask later what it said", zap.Error(err))
	}
}

// loaded returns since when the newest configuration has been in force, and the
// digest of its snapshot.
func (r *Runtime) loaded() (since time.Time, digest string) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.inForce.since, r.inForce.digest
}

// Snapshots lists the configurations that were loaded, newest first.
func (r *Runtime) Snapshots(ctx context.Context) ([]Snapshot, error) {
	notes, err := r.engine.Notes(ctx, queue.NoteConfiguration, time.Time{}, time.Time{}, mostSnapshots, false)
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
	return Snapshot{ID: note.ID, Digest: note.Name, Loaded: note.At}
}

// Snapshot returns one of them, with what it says and what changed. It wraps
// queue.ErrNotFound.
func (r *Runtime) Snapshot(ctx context.Context, id int64) (Snapshot, error) {
	fail := func(err error) (Snapshot, error) {
		return Snapshot{}, fmt.Errorf("reading snapshot %d of the configuration: %w", id, err)
	}
	notes, err := r.engine.Notes(ctx, queue.NoteConfiguration, time.Time{}, time.Time{}, mostSnapshots, false)
	if err != nil {
		return fail(err)
	}
	at := slices.IndexFunc(notes, func(note queue.Note) bool { return note.ID == id })
	if at < 0 {
		return fail(queue.ErrNotFound)
	}
	snapshot := snapshotOf(notes[at])
	if snapshot.Text, err = r.textOf(ctx, notes[at]); err != nil {
		return fail(err)
	}
	before := ""
	if at+1 < len(notes) {
		if before, err = r.textOf(ctx, notes[at+1]); err != nil {
			return fail(err)
		}
	}
	if snapshot.Changes, err = changes(before, snapshot.Text); err != nil {
		return fail(err)
	}
	return snapshot, nil
}

// textOf returns what a note of a configuration says, indented.
func (r *Runtime) textOf(ctx context.Context, note queue.Note) (string, error) {
	// Notes are told apart by their time here, and engines may keep it less
	// exactly than it was given.
	whole, err := r.engine.Notes(ctx, queue.NoteConfiguration, note.At, note.At.Add(time.Millisecond), 100, true)
	if err != nil {
		return "", err
	}
	for _, n := range whole {
		if n.ID == note.ID {
			return indented(n.Text), nil
		}
	}
	return "", queue.ErrNotFound
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
// was received does about it. Its secrets are not known any more and show as
// ***.
func (r *Runtime) ExplainThen(ctx context.Context, id string) (Explanation, Snapshot, error) {
	fail := func(err error) (Explanation, Snapshot, error) {
		return Explanation{}, Snapshot{}, fmt.Errorf("explaining an event by the configuration of its time: %w", err)
	}
	e, err := r.find(ctx, id)
	if err != nil {
		return Explanation{}, Snapshot{}, err
	}
	generation := r.newest.Load()
	if generation == nil {
		return fail(ErrNotInService)
	}
	if generation.Configuration.Compile == nil {
		return fail(errors.New("no snapshots of configurations are kept"))
	}
	notes, err := r.engine.Notes(ctx, queue.NoteConfiguration, time.Time{}, e.Received.Add(1), 1, true)
	if err != nil {
		return fail(err)
	}
	if len(notes) == 0 {
		return fail(fmt.Errorf("no configuration is kept from %s or before: %w", e.Received.Format(time.RFC3339), queue.ErrNotFound))
	}
	then, err := generation.Configuration.Compile(json.RawMessage(notes[0].Text))
	if err != nil {
		return fail(fmt.Errorf("the configuration loaded at %s cannot be read any more: %w", notes[0].At.Format(time.RFC3339), err))
	}
	return then.explain([]*event.Event{e}), snapshotOf(notes[0]), nil
}
