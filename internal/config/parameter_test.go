package config

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
)

func TestParameterResolved(t *testing.T) {
	asked := []string{}
	lookup := func(text string) (string, bool) {
		asked = append(asked, text)
		value, secret := strings.CutPrefix(text, "secret ")
		return value, secret
	}
	written := Parameter{Name: "token", Value: "secret a", Place: "f:1", Tenants: map[string]string{"300": "b", "200": "secret c", "100": "secret "}}
	before, err := json.Marshal(written)
	if err != nil {
		t.Fatal(err)
	}
	resolved := written.Resolved(lookup)
	if want := []string{"secret a", "secret ", "secret c", "b"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
	if want := map[string]string{"100": "", "200": "c", "300": "b"}; resolved.Name != "token" || resolved.Place != "f:1" || resolved.Value != "a" || !maps.Equal(resolved.Tenants, want) {
		t.Errorf("got %+v", resolved)
	}
	for tenant, want := range map[string]bool{"": true, "100": true, "200": true, "300": false, "999": false} {
		if got := resolved.IsSecret(tenant); got != want {
			t.Errorf("the value for tenant %q is secret: %t", tenant, got)
		}
		if written.IsSecret(tenant) {
			t.Errorf("the value for tenant %q is secret before it is resolved", tenant)
		}
	}
	if after, err := json.Marshal(written); err != nil || string(after) != string(before) {
		t.Errorf("what is written has become %s, %v", after, err)
	}
	// A value that is resolved again is only what the second lookup says.
	if again := resolved.Resolved(lookup); again.IsSecret("") || again.Value != "a" {
		t.Errorf("got %+v", again)
	}
}

func TestParameterHasDefault(t *testing.T) {
	for _, test := range []struct {
		parameter Parameter
		want      bool
	}{
		{Parameter{}, true},
		{Parameter{Value: "x"}, true},
		{Parameter{Tenants: map[string]string{"200": "x"}}, false},
		{Parameter{Value: "x", Tenants: map[string]string{"200": "y"}}, true},
		{Parameter{Tenants: map[string]string{}}, true},
	} {
		if got := test.parameter.HasDefault(); got != test.want {
			t.Errorf("%+v has a default: %t", test.parameter, got)
		}
	}
}
