package queuetest

import (
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

var switchTests = map[string]func(*fixture){
	"what is off is kept": func(f *fixture) {
		equal(f, "number at first", len(f.switches()), 0)
		since := f.Now()
		until := since.Add(24 * time.Hour)
		f.turn(queue.Switch{Kind: queue.SwitchAction, Name: "x", Off: true, Until: until, Reason: "the SAN is being moved"})
		f.turn(queue.Switch{Kind: queue.SwitchEvent, Name: "pbx:incoming_call", Off: true})
		f.turn(queue.Switch{Kind: queue.SwitchAll, Off: true, Reason: "audit"})
		f.Advance(f.Lease())
		f.reopen()
		switches := f.switches()
		if len(switches) != 3 {
			f.Fatalf("the switches are %+v", switches)
		}
		for _, want := range []queue.Switch{
			{Kind: queue.SwitchAction, Name: "x", Off: true, Until: until, Reason: "the SAN is being moved"},
			{Kind: queue.SwitchEvent, Name: "pbx:incoming_call", Off: true},
			{Kind: queue.SwitchAll, Off: true, Reason: "audit"},
		} {
			got := switches[string(want.Kind)+want.Name]
			f.near("since", got.Since, since)
			if !got.Until.Equal(want.Until) {
				f.Errorf("until is %v, want %v", got.Until, want.Until)
			}
			want.Since, want.Until = got.Since, got.Until
			equal(f, "switch", got, want)
		}
		f.nothing("x")
		f.turn(queue.Switch{Kind: queue.SwitchAll})
		f.turn(queue.Switch{Kind: queue.SwitchEvent, Name: "pbx:incoming_call"})
		equal(f, "number when two are on again", len(f.switches()), 1)
		f.turn(queue.Switch{Kind: queue.SwitchAction, Name: "x"})
		equal(f, "number in the end", len(f.switches()), 0)
		f.one("x", f.put(f.entry("x")).Deliveries[0].ID)
	},

	"to turn off again changes end and reason, not since when": func(f *fixture) {
		since := f.Now()
		f.turn(queue.Switch{Kind: queue.SwitchAll, Off: true, Reason: "first", Until: since.Add(time.Hour)})
		f.Advance(f.Lease())
		f.turn(queue.Switch{Kind: queue.SwitchAll, Off: true, Reason: "second"})
		got := f.switches()["all"]
		f.near("since", got.Since, since)
		equal(f, "reason", got.Reason, "second")
		equal(f, "until", got.Until, time.Time{})
	},

	"each turn is noted": func(f *fixture) {
		f.turn(queue.Switch{Kind: queue.SwitchAction, Name: "x"}) // is on: no turn
		f.turn(queue.Switch{Kind: queue.SwitchAction, Name: "x", Off: true, Reason: "why"})
		f.Advance(f.Lease())
		f.turn(queue.Switch{Kind: queue.SwitchAction, Name: "x"})
		f.turn(queue.Switch{Kind: queue.SwitchAll, Off: true})
		notes := f.notes(queue.NoteSwitch, 10)
		if len(notes) != 3 {
			f.Fatalf("the notes are %+v", notes)
		}
		for i, want := range []struct {
			name string
			off  bool
		}{{"all", true}, {"action x", false}, {"action x", true}} {
			equal(f, "name", notes[i].Name, want.name)
			var s queue.Switch
			if err := json.Unmarshal([]byte(notes[i].Text), &s); err != nil {
				f.Fatal(err)
			}
			equal(f, "off", s.Off, want.off)
		}
		f.near("time of the second", notes[1].At, f.Now())
		f.near("time of the first", notes[2].At, f.Now().Add(-f.Lease()))
	},

	"a switch must be one": func(f *fixture) {
		for _, s := range []queue.Switch{
			{Kind: "nonsense", Name: "x", Off: true}, {Kind: queue.SwitchAction, Off: true}, {Kind: queue.SwitchEvent, Off: true}, {Kind: queue.SwitchAll, Name: "x", Off: true}, {},
		} {
			if _, err := f.Change(f.patient(), queue.Change{Switch: &s}); err == nil {
				f.Errorf("the switch %+v was taken", s)
			}
		}
		equal(f, "number", len(f.switches()), 0)
	},
}

func (f *fixture) turn(s queue.Switch) {
	f.Helper()
	f.change(queue.Change{Switch: &s})
}

// switches returns the switches by kind and name.
func (f *fixture) switches() map[string]queue.Switch {
	f.Helper()
	switches, err := f.Switches(f.patient())
	if err != nil {
		f.Fatalf("Switches: %v", err)
	}
	named := make(map[string]queue.Switch)
	for _, s := range switches {
		named[string(s.Kind)+s.Name] = s
	}
	return named
}

var noteTests = map[string]func(*fixture){
	"notes are kept in full": func(f *fixture) {
		at := f.Now().Add(-time.Hour)
		f.note(queue.Note{Kind: queue.NoteConfiguration, Name: "one", Text: "first"})
		f.note(queue.Note{Kind: queue.NoteConfiguration, Name: "zero", Text: "before", At: at})
		f.Advance(f.Lease())
		f.note(queue.Note{Kind: queue.NoteConfiguration, Name: "two", Text: "second\nline"})
		f.reopen()
		notes := f.notes(queue.NoteConfiguration, 10)
		if len(notes) != 3 {
			f.Fatalf("the notes are %+v", notes)
		}
		for i, want := range []queue.Note{
			{Name: "two", Text: "second\nline", At: f.Now()}, {Name: "one", Text: "first", At: f.Now().Add(-f.Lease())}, {Name: "zero", Text: "before", At: at},
		} {
			got := notes[i]
			f.near("at", got.At, want.At)
			want.ID, want.At, want.Kind = got.ID, got.At, queue.NoteConfiguration
			if cluster, is := f.Engine.(queue.Cluster); is {
				want.Node = cluster.Node()
			}
			equal(f, "note", got, want)
		}
		if notes[0].ID == notes[1].ID || notes[0].ID == 0 {
			f.Errorf("ids are %d and %d", notes[0].ID, notes[1].ID)
		}
		equal(f, "number of at most 2", len(f.notes(queue.NoteConfiguration, 2)), 2)
	},

	"the newest note of a name is found": func(f *fixture) {
		for _, text := range []string{"first", "second"} {
			f.note(queue.Note{Kind: queue.NoteConfiguration, Name: "a", Text: text})
			f.note(queue.Note{Kind: "other", Name: "a", Text: "other"})
			f.note(queue.Note{Kind: queue.NoteConfiguration, Name: "b", Text: "b"})
			f.Advance(time.Second)
		}
		note, err := f.FindNote(f.patient(), queue.NoteConfiguration, "a")
		if err != nil || note.Text != "second" || note.Name != "a" || note.Kind != queue.NoteConfiguration {
			f.Errorf("found is %+v and %v", note, err)
		}
		if _, err := f.FindNote(f.patient(), queue.NoteConfiguration, "c"); !errors.Is(err, queue.ErrNotFound) {
			f.Errorf("a note that there is not gave %v, want ErrNotFound", err)
		}
	},

	"a note takes the place of earlier ones of its name": func(f *fixture) {
		for _, text := range []string{"first", "second", "third"} {
			f.note(queue.Note{Kind: "other", Name: "a", Text: text, Replace: text != "first"})
			f.note(queue.Note{Kind: "other", Text: text, Replace: true})
			f.note(queue.Note{Kind: "third kind", Name: "a", Text: text})
			f.Advance(time.Second)
		}
		f.reopen()
		var texts []string
		for _, note := range f.notes("other", 10) {
			texts = append(texts, note.Name+"="+note.Text)
		}
		slices.Sort(texts)
		equalIDs(f, "notes", texts, []string{"=third", "a=third"})
		equal(f, "notes of another kind", len(f.notes("third kind", 10)), 3)
		found, err := f.FindNote(f.patient(), "other", "")
		if err != nil || found.Text != "third" || found.Replace {
			f.Errorf("the note without a name is %+v and %v", found, err)
		}
	},

	"notes of a time, without their text": func(f *fixture) {
		begin := f.Now()
		for i := range 4 {
			f.note(queue.Note{Kind: "other", Name: string(rune('a' + i)), Text: "text", At: begin.Add(time.Duration(i) * time.Second)})
		}
		notes, err := f.Notes(f.patient(), "other", begin.Add(time.Second), begin.Add(3*time.Second), 10, false)
		if err != nil {
			f.Fatal(err)
		}
		if len(notes) != 2 || notes[0].Name != "c" || notes[1].Name != "b" || notes[0].Text != "" {
			f.Errorf("the notes are %+v", notes)
		}
		all, err := f.Notes(f.patient(), "", begin.Add(time.Second), time.Time{}, 10, true)
		if err != nil || len(all) < 3 || all[0].Text != "text" {
			f.Errorf("the notes of all kinds are %+v and %v", all, err)
		}
	},

	"starts and stops are noted": func(f *fixture) {
		equal(f, "starts", len(f.notes(queue.NoteStart, 10)), 1)
		equal(f, "stops", len(f.notes(queue.NoteStop, 10)), 0)
		f.Advance(f.Lease())
		f.reopen()
		equal(f, "starts after reopening", len(f.notes(queue.NoteStart, 10)), 2)
		stops := f.notes(queue.NoteStop, 10)
		if len(stops) != 1 {
			f.Fatalf("the stops are %+v", stops)
		}
		f.near("time of the stop", stops[0].At, f.Now())
	},

	"old notes are pruned, but the last of each kind": func(f *fixture) {
		for _, name := range []string{"one", "two", "three"} {
			f.note(queue.Note{Kind: queue.NoteConfiguration, Name: name, Text: name})
			f.Advance(f.Lease())
		}
		f.prune(f.Now(), 0)
		notes := f.notes(queue.NoteConfiguration, 10)
		if len(notes) != 1 || notes[0].Name != "three" {
			f.Errorf("the notes are %+v", notes)
		}
		equal(f, "starts", len(f.notes(queue.NoteStart, 10)), 1)
		f.note(queue.Note{Kind: queue.NoteConfiguration, Name: "four", Text: "four"})
		f.prune(f.Now(), 0)
		equal(f, "number after a new one", len(f.notes(queue.NoteConfiguration, 10)), 2)
	},

	"a note without a kind is refused": func(f *fixture) {
		if err := f.Note(f.patient(), queue.Note{Text: "x"}); err == nil {
			f.Error("it was taken")
		}
	},
}

func (f *fixture) note(n queue.Note) {
	f.Helper()
	if err := f.Note(f.patient(), n); err != nil {
		f.Fatalf("Note: %v", err)
	}
}

func (f *fixture) notes(kind queue.NoteKind, n int) []queue.Note {
	f.Helper()
	notes, err := f.Notes(f.patient(), kind, time.Time{}, time.Time{}, n, true)
	if err != nil {
		f.Fatalf("Notes: %v", err)
	}
	return notes
}
