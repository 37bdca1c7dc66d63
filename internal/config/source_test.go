package config

import (
	"errors"
	"testing"
)

// TestSourceCheckOfAnswers checks size and status without any room that compiles a
// source: a configuration in JSON has no other check before.
func TestSourceCheckOfAnswers(t *testing.T) {
	for _, test := range []struct {
		source Source
		want   string // "" for no finding
	}{
		{Source{}, ""},
		{Source{MaxBody: 1, Respond: 200}, ""},
		{Source{Respond: 202}, ""},
		{Source{Respond: 204}, ""},
		{Source{MaxBody: -1}, `source erp, max_body: a size is not negative`},
		{Source{Respond: 201, Place: "f:3"}, `source erp, respond: 201 is not among 200, 202 and 204, at f:3`},
		{Source{Respond: -200}, `source erp, respond: -200 is not among 200, 202 and 204`},
		{Source{MaxBody: -1, Respond: 2}, "source erp, max_body: a size is not negative\nsource erp, respond: 2 is not among 200, 202 and 204"},
	} {
		test.source.Name = "erp"
		var wrong Findings
		test.source.Check(&wrong)
		got := ""
		if err := errors.Join(wrong...); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%+v: got %q, want %q", test.source, got, test.want)
		}
	}
}
