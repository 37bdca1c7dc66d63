package queue

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/rules"
)

// ErrUsedSince means that a relay has used an archive since its import began, so that
// what was imported of it is out of date.
var ErrUsedSince = errors.New("it was used since its import began")

// Archive is a queue with its history that no relay has open. It is only read, part
// by part, so that an Importer can take it over.
type Archive interface {
	// Origin says which archive it is.
	Origin() Origin
	// Contents says what is in it.
	Contents(ctx context.Context) (Contents, error)
	// Part returns what follows a place that an earlier part reached, or the first part
	// for the empty place. The parts are always the same, in the same order: what is
	// needed first is the switches, then what decides about duplicates, then the events
	// that have unfinished deliveries, in the order in which they were stored, then all
	// others, and then the rest. At the end Reached is the place that was given. A part
	// takes a few megabytes, unless a single event is larger.
	Part(ctx context.Context, after Place) (Part, error)
	// Close lets relays use the archive again.
	Close() error
}

// Importer is a storage that takes over what is in archives. It belongs to no relay:
// others may have the storage open meanwhile, and go on.
type Importer interface {
	// Imported returns the place up to which an archive is in, empty if its import has not
	// begun. It changes nothing, and creates nothing. It returns ErrUsedSince if the
	// archive was in another state when its import began.
	Imported(ctx context.Context, origin Origin) (Place, error)
	// BeginImport creates what is missing, makes room for the events of an archive before
	// all that are there, and returns what Imported does. Begun before, it only returns
	// that.
	BeginImport(ctx context.Context, origin Origin) (Place, error)
	// Import stores a part of an archive after a place, as one unit that is durable on
	// return, and with it the place that is reached then.
	//
	// Events whose id is stored already are left out, with everything that belongs to
	// them. The others are before all events that relays stored, in the order of the
	// archive.
	//
	// Unfinished deliveries can be taken as soon as their event is in, with the attempts
	// that they had. Of an action and order key, those that are Behind can not until
	// another has ended or WaitingIn says that it will not come: so those of the archive
	// go in its order, and before those that relays store from then on. One that a relay
	// stored before goes first if it can be taken already.
	//
	// What relays turned off, noted and marked themselves stays as it is. What is counted
	// is added to what they counted.
	//
	// It changes nothing and returns an error if the storage is not at the place
	// after, because another import is at work.
	Import(ctx context.Context, origin Origin, after Place, part Part) (Imported, error)
	// Close ends the use of the storage.
	Close() error
}

// ImportStore is a Store whose storage takes over archives.
type ImportStore interface {
	Store
	// OpenImporter connects to the storage. It creates nothing: BeginImport does.
	OpenImporter(ctx context.Context) (Importer, error)
}

// Origin distinguishes archives.
type Origin struct {
	// Identity is the same for copies of an archive.
	Identity string
	// State changes when a relay uses the archive.
	State string
	// First and Last are the smallest and the largest Number of its events, 0 without.
	First, Last int64
}

// Place is how far an import came. It is the archive's own business.
type Place string

// Contents says what is in an archive.
type Contents struct {
	// Events counts the events, and Attempts what was tried of their deliveries.
	// Oldest and Newest are when the first and the last of them were received.
	Events   int64     `json:"events"`
	Attempts int64     `json:"attempts"`
	Oldest   time.Time `json:"oldest,omitzero"`
	Newest   time.Time `json:"newest,omitzero"`
	// Unfinished is what waits, by action.
	Unfinished []Backlog `json:"unfinished"`
	Switches   []Switch  `json:"switches"`
	// Marks counts the dedupe keys whose window is not over, Minutes those of which
	// is known what happened, Notes the notes and Uses the things whose uses are
	// counted.
	Marks   int64 `json:"dedupe_keys"`
	Minutes int64 `json:"minutes"`
	Notes   int64 `json:"notes"`
	Uses    int64 `json:"uses"`
}

// Waiting returns the number of unfinished deliveries.
func (c *Contents) Waiting() (n int64) {
	for _, b := range c.Unfinished {
		n += int64(b.Count)
	}
	return n
}

// Part is a part of an archive.
type Part struct {
	// WaitingIn says that no unfinished delivery follows this part. Of order keys that
	// have only deliveries which are Behind, the first can be taken then.
	WaitingIn bool

	Switches []Switch
	Marks    []DedupeMark
	Events   []ArchivedEvent
	Notes    []Note
	Minutes  []CountedMinute
	Uses     []Use
	// Reached is the place behind the part.
	Reached Place
	// Read is how many of the archive's events were read up to this place.
	Read int64
}

// DedupeMark makes later events with its key duplicates of an event.
type DedupeMark struct {
	// Key is the first 16 bytes of the SHA-256 of the dedupe key.
	Key [16]byte
	// Event is the id of the event that was stored with it.
	Event string
	// Stored is when that was, and Expires when the window is over that it had.
	Stored, Expires time.Time
}

// ArchivedEvent is an event of an archive with all that became of it.
type ArchivedEvent struct {
	// Number gives the order in which events were stored.
	Number int64
	// Summary has neither Node nor Deliveries.
	Summary Summary
	// Record and Body are what event.DecodeRecord makes the event of. Record is nil if
	// the event is damaged; its deliveries must then be settled as Failed.
	Record, Body []byte
	// Deliveries are in the order in which they were made.
	Deliveries []ArchivedDelivery
	// Damaged says that the event, or what was to be done about it, cannot be read.
	Damaged bool
}

// ArchivedDelivery is a delivery of an archive.
type ArchivedDelivery struct {
	// Delivery has the time at which it is due, or would be if it did not wait for
	// another of its order key: zero since it was made. OrderKey, Attempts and
	// FirstAttempt are those of an unfinished delivery.
	Delivery
	// Added is when it was added to the stored event. The zero time means that it was
	// stored with it.
	Added time.Time
	// State is Pending, or the end that it reached; that it is mended says Mend.
	State State
	// Behind says that it waits for another of its action and order key.
	Behind bool
	// Steps are what became of it, oldest first.
	Steps []Step
}

// Step is an attempt at a delivery of an archive, or a change of its state without
// one.
type Step struct {
	// Number is how many attempts came before.
	Number int
	// Action is the one that the delivery was for.
	Action string
	// State is the delivery's from then on, and At when it was due again, or ended.
	State State
	At    time.Time
	// Attempt is what was tried, nil for nothing.
	Attempt *Attempt
}

// CountedMinute is what happened in a minute. The meaning of its counts is that of
// those of Point.
type CountedMinute struct {
	// At is when the minute begins.
	At         time.Time
	Events     map[rules.Decision]int64
	Deliveries map[State]int64
	Retries    int64
	// Latencies counts delivered deliveries by how long they took from receipt: class n
	// from 2^(n/2) to 2^((n+1)/2) microseconds.
	Latencies map[int]int64
	// Backlog is the last sample of each action that had one.
	Backlog map[string]BacklogSample
}

// Imported says what an import stored.
type Imported struct {
	// Events counts the events, and Unfinished their deliveries that wait now.
	Events     int64 `json:"events"`
	Unfinished int64 `json:"unfinished"`
	// Known counts the events that were left out because they were stored already.
	Known int64 `json:"known"`
	// Damaged counts the events of which something could not be read. They are stored as
	// far as they can be.
	Damaged int64 `json:"damaged"`
}

// Import takes an archive over into a storage: from where an earlier import of it
// ended, if there was one. It tells progress the place and what was stored so far.
// After an error, and when ctx ends, what was stored stays, and the next import goes
// on.
func Import(ctx context.Context, from Archive, into Importer, progress func(read int64, stored Imported)) (stored Imported, err error) {
	origin := from.Origin()
	place, err := into.BeginImport(ctx, origin)
	if err != nil {
		return stored, fmt.Errorf("beginning the import: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	type read struct {
		part Part
		err  error
	}
	// The next part is read while one is being stored.
	parts := make(chan read)
	go func() {
		defer close(parts)
		for after := place; ; {
			part, err := from.Part(ctx, after)
			if err == nil && part.Reached == after {
				return
			}
			select {
			case parts <- read{part, err}:
			case <-ctx.Done():
				return
			}
			if after = part.Reached; err != nil {
				return
			}
		}
	}()
	defer func() { // the archive may be closed afterwards
		stop()
		for range parts {
		}
	}()
	for next := range parts {
		if next.err != nil {
			return stored, fmt.Errorf("reading what is to be imported: %w", next.err)
		}
		part := &next.part
		now, err := into.Import(ctx, origin, place, *part)
		if err != nil {
			return stored, fmt.Errorf("storing what was read: %w", err)
		}
		place = part.Reached
		stored.Events += now.Events
		stored.Unfinished += now.Unfinished
		stored.Known += int64(len(part.Events)) - now.Events
		for i := range part.Events {
			if part.Events[i].Damaged {
				stored.Damaged++
			}
		}
		progress(part.Read, stored)
	}
	return stored, ctx.Err()
}
