package forward

import (
	"fmt"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

func TestOnlyEndpoint(t *testing.T) {
	for _, c := range []struct {
		url        string
		parameters []config.Parameter
		want       string
	}{
		{"http://h/{{body.x}}", nil, "http://h"},
		{"{{site}}/x", []config.Parameter{byTenant("site", "http://a", "200", "http://b")}, ""},
		{"{{site}}/x", []config.Parameter{byTenant("site", "http://a/1", "200", "http://a/2")}, "http://a"},
		{"{{site}}/x", []config.Parameter{byTenant("site", "", "200", "http://a/2")}, "http://a"},
		{"{{site}}/x", []config.Parameter{byTenant("site", "", "200", "http://a", "300", "http://b")}, ""},
	} {
		p := prepare(t, config.Action{URL: c.url}, c.parameters...)
		e, ok := p.onlyEndpoint()
		if ok != (c.want != "") || ok && e.String() != c.want {
			t.Errorf("%s: %v %v, want %q", fmt.Sprint(p.Targets()), e, ok, c.want)
		}
	}
}
