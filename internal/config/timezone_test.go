package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMachineTimezone: the zone of the machine has a name where the machine has one,
// also where it has no zones, and what cannot be told is said.
func TestMachineTimezone(t *testing.T) {
	directory := t.TempDir()
	link := func(name, to string) string {
		file := filepath.Join(directory, name)
		if err := os.Symlink(to, file); err != nil {
			t.Fatal(err)
		}
		return file
	}
	copied := filepath.Join(directory, "copied")
	if err := os.WriteFile(copied, []byte("TZif2"), 0o600); err != nil {
		t.Fatal(err)
	}
	london := link("london", "/no/such/zoneinfo/Europe/London")
	nowhere := link("nowhere", "/no/such/zoneinfo/Europe/Londn")
	none := filepath.Join(directory, "none")
	for _, test := range []struct {
		name, tz string
		isSet    bool
		file     string
		want     string // the name of the zone
		doubt    string
	}{
		{"a link to a zone that the system lacks", "", false, london, "Europe/London", ""},
		{"a link to no zone", "", false, nowhere, "UTC", "this machine names no time zone"},
		{"a file without a name", "", false, copied, "Local", ""},
		{"nothing", "", false, none, "UTC", "write timezone Europe/London or the like in the event_relay block, or timezone UTC"},
		{"TZ goes first", "America/New_York", true, london, "America/New_York", ""},
		{"TZ with a colon", ":Asia/Tokyo", true, none, "Asia/Tokyo", ""},
		{"an empty TZ is UTC", "", true, london, "UTC", ""},
		{"TZ is a file", london, true, none, "Europe/London", ""},
		{"TZ is a file that is not there", none, true, london, "UTC", "there is no such file"},
		{"TZ is misspelt", "Europe/Londn", true, london, "UTC", `TZ is "Europe/Londn", which is not the name of a time zone`},
		{"TZ is a rule of POSIX, which Go takes for UTC", "CET-1CEST,M3.5.0,M10.5.0/3", true, london, "UTC", "is not the name of a time zone"},
	} {
		zone, doubt := machineTimezone(test.tz, test.isSet, test.file)
		if zone.String() != test.want || (doubt == "") != (test.doubt == "") || !strings.Contains(doubt, test.doubt) {
			t.Errorf("%s: got %s, %q; want %s, %q", test.name, zone, doubt, test.want, test.doubt)
		}
	}
}

func TestRelayTimezone(t *testing.T) {
	zone, doubt, err := (&Relay{Timezone: "Europe/London"}).Location()
	if err != nil || doubt != "" || zone.String() != "Europe/London" {
		t.Errorf("got %v, %q, %v", zone, doubt, err)
	}
	t.Setenv("TZ", "Asia/Tokyo")
	if zone, doubt, err = new(Relay).Location(); err != nil || doubt != "" || zone.String() != "Asia/Tokyo" {
		t.Errorf("without a setting: got %v, %q, %v", zone, doubt, err)
	}
	for _, name := range []string{"Local", "Europe/Londn", "../zones/Europe/London"} {
		wrong := (&Relay{Timezone: name}).Check()
		if len(wrong) != 1 || !strings.Contains(wrong[0].Error(), "is not a time zone") {
			t.Errorf("timezone %s: %v", name, wrong)
		}
	}
	for zone, want := range map[string]string{"": "UTC", "Europe/Paris": "Europe/Paris"} {
		if got, err := (&Source{Timezone: zone}).Location(time.UTC); err != nil || got.String() != want {
			t.Errorf("a source with the zone %q has %v, %v; want %s", zone, got, err, want)
		}
	}
}
