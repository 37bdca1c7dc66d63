package language

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
)

// tenantDefinitions have parameters of every kind, for the tenants 200 and 300.
func tenantDefinitions() Definitions {
	return Definitions{Parameters: []config.Parameter{
		{Name: "domain", Value: "lan"},
		{Name: "site", Value: "london", Tenants: map[string]string{"200": "leeds", "300": "york"}},
		{Name: "host", Value: "{{site}}.{{domain}}", Tenants: map[string]string{"300": "{{site}}-new.{{domain}}"}},
		{Name: "only", Tenants: map[string]string{"200": "two"}},
		{Name: "both", Value: "{{only}}/{{host}}"},
		{Name: "token", Value: "open", Tenants: map[string]string{"200": "{env.{{site}}}"}},
		{Name: "bearer", Value: "Bearer {{token}}"},
		{Name: "limit", Value: "10", Tenants: map[string]string{"200": "20"}},
		{Name: "zone", Value: "Europe/London", Tenants: map[string]string{"200": "Asia/Tokyo"}},
		{Name: "pattern", Value: "^A", Tenants: map[string]string{"200": "^B"}},
		{Name: "prefix", Value: "x", Tenants: map[string]string{"200": ""}},
		{Name: "depots", Value: "London,Leeds", Tenants: map[string]string{"200": "Leeds"}},
	}}
}

// tenantEvent is typicalEvent for a tenant.
func tenantEvent(tb testing.TB, tenant any) *event.Event {
	e := eventtest.Typical(tb)
	e.Parameters[event.Tenant] = tenant
	return e
}

func TestParametersByTenant(t *testing.T) {
	l := newLanguage(t, tenantDefinitions())
	plain := func(value string) TrustedValue { return TrustedValue{Value: value} }
	secret := func(value string) TrustedValue { return TrustedValue{Value: value, Secret: true} }
	absent := func(name string) TrustedValue { return TrustedValue{Missing: []string{name}} }
	for _, want := range []struct {
		name     string
		isSecret bool
		// standard is for all tenants but 200 and 300.
		standard, for200, for300 TrustedValue
	}{
		{"domain", false, plain("lan"), plain("lan"), plain("lan")},
		{"host", false, plain("london.lan"), plain("leeds.lan"), plain("york-new.lan")},
		{"only", false, absent("only"), plain("two"), absent("only")},
		// Without one of the parameters that it holds, it is absent as a whole.
		{"both", false, absent("both"), plain("two/leeds.lan"), absent("both")},
		// A secret is never searched for tags, and makes secret what holds it.
		{"token", true, plain("open"), secret("{{site}}"), plain("open")},
		{"bearer", true, plain("Bearer open"), secret("Bearer {{site}}"), plain("Bearer open")},
	} {
		x := compile(t, l, want.name)
		for tenant, want := range map[string]TrustedValue{"": want.standard, "999": want.standard, "200": want.for200, "300": want.for300} {
			if got := x.For(tenant); !reflect.DeepEqual(got, want) {
				t.Errorf("%s for %q is %+v, want %+v", x, tenant, got, want)
			}
		}
		if got := l.IsSecret(want.name); got != want.isSecret {
			t.Errorf("%s is secret: %t", want.name, got)
		}
	}
}

func TestSecrets(t *testing.T) {
	l := newLanguage(t, Definitions{Parameters: []config.Parameter{
		{Name: "a", Value: "{env.two}", Tenants: map[string]string{"1": "{env.one}", "2": "plain", "3": "{env.two}"}},
		{Name: "b", Value: "x{{a}}"},
		{Name: "c", Tenants: map[string]string{"1": "{env.three}", "2": "{env.}"}},
	}})
	if got, want := l.Secrets(), []string{"one", "three", "two"}; !slices.Equal(got, want) {
		t.Errorf("secrets are %q, want %q", got, want)
	}
}

func TestParametersByTenantErrors(t *testing.T) {
	values := func(pairs ...string) map[string]string {
		tenants := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			tenants[pairs[i]] = pairs[i+1]
		}
		return tenants
	}
	large := strings.Repeat("x", maxParameterSize/2+1)
	for _, test := range []struct {
		name       string
		parameters []config.Parameter
		want       string
	}{
		{"cycle through a tenant", []config.Parameter{{Name: "a", Value: "x", Tenants: values("200", "{{b}}")}, {Name: "b", Value: "{{a}}"}}, "defining parameter a: it holds itself: a → b → a"},
		{"itself for a tenant", []config.Parameter{{Name: "a", Value: "x", Tenants: values("200", "{{a}}")}}, "a → a"},
		{"undefined for a tenant", []config.Parameter{{Name: "host", Value: "x"}, {Name: "a", Tenants: values("200", "{{hots}}")}}, "defining parameter a: for tenant 200: {{hots}} is not defined; did you mean host?; to define it, add: parameter hots VALUE"},
		{"system for a tenant", []config.Parameter{{Name: "a", Tenants: values("200", "{{tenant}}")}}, "for tenant 200: {{tenant}} comes with each event"},
		{"no code", []config.Parameter{{Name: "a", Tenants: values("", "x")}}, "defining parameter a: the code of a tenant is empty; events without a tenant have the default"},
		{"held is missing", []config.Parameter{{Name: "a", Value: "x", Tenants: values("300", "{{b}}")}, {Name: "b", Tenants: values("200", "x")}}, "defining parameter a: for tenant 300: {{b}} has neither a value for that tenant nor a default"},
		{"never all", []config.Parameter{{Name: "a", Value: "{{b}}{{c}}"}, {Name: "b", Tenants: values("200", "x")}, {Name: "c", Tenants: values("300", "x")}}, "defining parameter a: there is no tenant for which all the parameters that it holds have a value"},
		{"large for a tenant", []config.Parameter{{Name: "a", Value: "{{b}}{{b}}"}, {Name: "b", Value: "x", Tenants: values("200", large)}}, "defining parameter a: for tenant 200: its value is larger than 64 KiB"},
	} {
		_, err := New(Definitions{Parameters: test.parameters})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
		if err != nil && strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%s is reported more than once: %v", test.name, err)
		}
	}
}

func TestConditionsByTenant(t *testing.T) {
	l := newLanguage(t, tenantDefinitions())
	tenants := []any{"200", "300", "999", ""}
	for source, want := range map[string][]any{
		`site == "leeds"`:                   {true, false, false, false},
		`site`:                              {"leeds", "york", "london", "london"},
		`host in ["leeds.lan", "york.lan"]`: {true, false, false, false},
		`only == "two"`:                     {true, nil, nil, nil},
		`only != "two"`:                     {false, nil, nil, nil},
		`not (only == "two")`:               {false, nil, nil, nil},
		`only != nil`:                       {true, false, false, false},
		`only ?? "none"`:                    {"two", "none", "none", "none"},
		`only == "two" or test`:             {true, nil, nil, nil},
		`body.status == "Approved" and only == "two"`: {true, nil, nil, nil},
		`both`:            {"two/leeds.lan", nil, nil, nil},
		`upper(only)`:     {"TWO", nil, nil, nil},
		`int(limit) > 15`: {true, false, false, false},
		`body.project.budget > int(limit) * 1000`:               {false, true, true, true},
		`received.In(timezone(zone)).Hour()`:                    {int64(19), int64(10), int64(10), int64(10)},
		`body.project.code matches pattern`:                     {false, true, true, true},
		`body.project.depot in split(depots, ",")`:              {false, true, true, true},
		`body.note == prefix`:                                   {nil, nil, nil, nil},
		`prefix == ""`:                                          {true, false, false, false},
		`any(body.tags, # == site)`:                             {false, false, false, false},
		`body.user[lower(prefix == "" ? "NAME" : "email")]`:     {"Zoë Müller", "zoe@studio.example", "zoe@studio.example", "zoe@studio.example"},
		`let s = site; s + s`:                                   {"leedsleeds", "yorkyork", "londonlondon", "londonlondon"},
		`map(["a"], # + site)[0]`:                               {"aleeds", "ayork", "alondon", "alondon"},
		`tenant == "" ? nil : site`:                             {"leeds", "york", "london", nil},
		`body.user.name + " at " + site + " on " + body.status`: {"Zoë Müller at leeds on Approved", "Zoë Müller at york on Approved", "Zoë Müller at london on Approved", "Zoë Müller at london on Approved"},
	} {
		x := compile(t, l, source)
		for i, tenant := range tenants {
			bound := l.Bind(tenantEvent(t, tenant))
			got, err := bound.Evaluate(x)
			if err != nil || got != want[i] {
				t.Errorf("`%s` for tenant %q gives %#v, %v; want %#v", source, tenant, got, err, want[i])
			}
			lacks := tenant != "200" && (strings.Contains(source, "only") || strings.Contains(source, "both"))
			if noted := slices.ContainsFunc(bound.Absent(), func(name string) bool { return name == "only" || name == "both" }); noted != lacks {
				t.Errorf("`%s` for tenant %q: absent are %q", source, tenant, bound.Absent())
			}
		}
	}
}

// An expression gives for the event of a tenant what it would give if there were
// that tenant's values only.
func TestTenantIsAsIfAlone(t *testing.T) {
	all := tenantDefinitions()
	all.Parameters = slices.DeleteFunc(all.Parameters, func(p config.Parameter) bool { return p.Name == "only" || p.Name == "both" })
	l := newLanguage(t, all)
	var sources []string
	for _, p := range all.Parameters {
		for _, form := range []string{
			`%s`, `%s == ""`, `%s != nil`, `%s ?? "x"`, `upper(%s) + "!"`, `%s + body.status`, `len(%s) > 3`, `%s contains "l"`, `%s startsWith domain`,
			`body.project.code matches %s`, `%s matches "^l"`, `%s matches pattern`, `%s == site`, `site == %s`, `%s in [site, "lan"]`, `"e" in split(%s, "")`,
			`body.nothing == %s`, `%s == body.nothing`, `body.status != %s`, `[%s, {a: %s}]`, `%s[1:3]`, `let v = %s; v == site ? v : upper(v)`,
			`filter(body.tags, # < %s)`, `count(split(%s, ""), # == "l")`, `reduce(split(%s, ""), #acc + # + site)`, `%s | lower() | toBase64()`,
			`(%s; site)`, `if %s == "" { 1 } else { [site] }`, `toJSON({(site): %s})`, `body.project[%s]`, `verbatim(%s)`, `replace(%s, "l", site)`,
			`int(limit) + len(%s)`, `duration(limit + "s") * len(%s)`, `any([1, 2], # > len(%s) and site != "york")`, `%s > site`, `test and %s == site`,
		} {
			sources = append(sources, strings.ReplaceAll(form, "%s", p.Name))
		}
	}
	for _, tenant := range []string{"200", "300", "999", ""} {
		alone := Definitions{}
		for _, p := range all.Parameters {
			if own, listed := p.Tenants[tenant]; listed {
				p.Value = own
			}
			p.Tenants = nil
			alone.Parameters = append(alone.Parameters, p)
		}
		single := newLanguage(t, alone)
		event := tenantEvent(t, tenant)
		for _, source := range sources {
			want, wantTrusted, wantErr := outcome(single, event, source)
			got, trusted, err := outcome(l, event, source)
			if fmt.Sprint(got) != fmt.Sprint(want) || trusted != wantTrusted || (err == nil) != (wantErr == nil) {
				t.Errorf("`%s` for tenant %q gives %#v, trusted %t, %v; alone %#v, trusted %t, %v", source, tenant, got, trusted, err, want, wantTrusted, wantErr)
			}
		}
	}
}

// outcome is what an expression gives, at load or later.
func outcome(l *Language, event *event.Event, source string) (value any, trusted bool, err error) {
	x, err := l.Compile(source)
	if err != nil {
		return nil, false, err
	}
	value, err = l.Bind(event).Evaluate(x)
	if x.Trusted() && fmt.Sprint(x.For(event.Tenant()).Value) != fmt.Sprint(value) {
		err = fmt.Errorf("For gives %#v", x.For(event.Tenant()).Value)
	}
	return value, x.Trusted(), err
}

func TestTrustedByTenant(t *testing.T) {
	l := newLanguage(t, tenantDefinitions())
	for _, test := range []struct {
		source  string
		tenants string
		want    map[string]TrustedValue
	}{
		{`domain`, "", map[string]TrustedValue{"200": {Value: "lan"}}},
		{`site + ".x"`, "200 300", map[string]TrustedValue{"200": {Value: "leeds.x"}, "300": {Value: "york.x"}, "": {Value: "london.x"}, "../x": {Value: "london.x"}}},
		{`only`, "200", map[string]TrustedValue{"200": {Value: "two"}, "300": {Missing: []string{"only"}}, "": {Missing: []string{"only"}}}},
		{`only ?? site`, "200 300", map[string]TrustedValue{"200": {Value: "two"}, "300": {Value: "york", Missing: []string{"only"}}}},
		{`upper(bearer)`, "200", map[string]TrustedValue{"200": {Value: "BEARER {{SITE}}", Secret: true}, "300": {Value: "BEARER OPEN"}}},
		{`let t = token; [t]`, "200", map[string]TrustedValue{"200": {Value: []any{"{{site}}"}, Secret: true}, "300": {Value: []any{"open"}}}},
	} {
		x := compile(t, l, test.source)
		if !x.Trusted() || strings.Join(x.Tenants(), " ") != test.tenants {
			t.Errorf("`%s`: trusted %t, tenants %q", test.source, x.Trusted(), x.Tenants())
			continue
		}
		for tenant, want := range test.want {
			if got := x.For(tenant); !reflect.DeepEqual(got, want) {
				t.Errorf("`%s` for %q gives %+v, want %+v", test.source, tenant, got, want)
			}
		}
	}
	for _, source := range []string{`site + body.status`, `tenant + site`, `tenant == "200" ? site : host`, `site == "x" and now() > received`, `{"a": site}[tenant]`} {
		if compile(t, l, source).Trusted() {
			t.Errorf("`%s` is trusted", source)
		}
	}
}

// What can be told of a tenant's value at load is told then, with the tenant
// and without the value.
func TestTenantsInCompileErrors(t *testing.T) {
	l := newLanguage(t, Definitions{Parameters: []config.Parameter{
		{Name: "number", Value: "1", Tenants: map[string]string{"200": "{env.gehe(im}", "300": "2"}},
		{Name: "only", Tenants: map[string]string{"300": "gehe(im"}},
		{Name: "odd", Value: "gehe(im", Tenants: map[string]string{"300": "2"}},
	}})
	for source, want := range map[string]string{
		`body.n == int(number)`:            "for tenant 200: `int(number)`: the text is not a number",
		`caller_id matches number`:         "for tenant 200: `caller_id matches number`: the pattern is not a regular expression",
		`caller_id matches only + "$"`:     "for tenant 300: `caller_id matches only + \"$\"`: the pattern is not a regular expression",
		`caller_id matches odd`:            "for tenants without a value of their own: `caller_id matches odd`: the pattern",
		`test and only > 1`:                "for tenant 300: `only > 1` compares text with a number",
		`let n = number; map([n], int(#))`: "for tenant 200: `int(#)`: the text is not a number",
		`number.x`:                         "`number.x`: text has no members",
		`any(body.list, number.x)`:         "`number.x`: text has no members",
	} {
		_, err := l.Compile(source)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "gehe") {
			t.Errorf("`%s`: %v, want %q", source, err, want)
		}
	}
}

// BenchmarkByTenant is a condition with a parameter that 1,000 tenants have.
func BenchmarkByTenant(b *testing.B) {
	p := config.Parameter{Name: "approved", Value: "Approved", Tenants: map[string]string{}}
	for i := range 1000 {
		p.Tenants[fmt.Sprint(1000+i)] = fmt.Sprint("Approved", i)
	}
	l := newLanguage(b, Definitions{Parameters: []config.Parameter{p}})
	e := tenantEvent(b, slices.Sorted(maps.Keys(p.Tenants))[500])
	for _, source := range []string{`body.status == approved`, `body.status matches "^" + approved`, `approved == "x"`} {
		b.Run("evaluate/"+source, func(b *testing.B) {
			x, bound := compile(b, l, source), l.Bind(e)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := bound.Evaluate(x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("compile", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := l.Compile(`body.status == approved`); err != nil {
				b.Fatal(err)
			}
		}
	})
}
