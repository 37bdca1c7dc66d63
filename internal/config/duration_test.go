package config

import (
	"encoding/json"
	"testing"
	"time"
)

func TestDurations(t *testing.T) {
	for text, want := range map[string]time.Duration{
		`5000000000`: 5 * time.Second,
		`"1h30m"`:    90 * time.Minute,
		`"30d"`:      30 * 24 * time.Hour,
		`"1.5d12h"`:  48 * time.Hour,
		`"-1"`:       -1, // refused
		`"d"`:        -1,
		`"1"`:        -1,
		`""`:         -1,
		`1.5`:        -1,
		`"1e300d"`:   -1,
		`true`:       -1,
	} {
		var got Duration
		err := json.Unmarshal([]byte(text), &got)
		if (err != nil) != (want == -1) || err == nil && time.Duration(got) != want {
			t.Errorf("%s: %v, %v", text, time.Duration(got), err)
		}
	}
	if text, err := json.Marshal(Duration(time.Second)); err != nil || string(text) != "1000000000" {
		t.Errorf("written as %s, %v", text, err)
	}
}
