package caddyfile

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// sound is a configuration in which nothing is wrong, and which uses what it defines
// from everywhere.
const sound = `{
	event_relay {
		targets private_ranges lan.example mail.lan
		timezone Europe/London
		parameter lan http://192.168.1.20
		parameter token {env.EVENT_RELAY_NOT_SET}
		parameter desk {
			default 100
			tenant 101 200
		}
		source erp {
			auth bearer {env.EVENT_RELAY_NOT_SET}
			auth hmac X-Signature sha256 {env.EVENT_RELAY_NOT_SET}
			allow 10.0.0.0/8 192.168.0.0/16
			name_from ` + "`body.type`" + `
			event paid "An order was paid."
			event refunded
			field order ` + "`body.order.id`" + `
			field total ` + "`body.order.total`" + `
			subject "Order {{order}}"
			dedupe 10m ` + "`body.id`" + `
			redact body.card query.card
		}
		source pbx pbxware {
			auth none
		}
		action folder {
			post "{{lan}}/folders"
			query order "{{order}}"
			header Authorization "Bearer {{token}}"
			body form {
				desk "{{desk}}"
				total "{{total}}"
			}
			retry_for 1h
			retry_interval 1s 1m
			success 2xx 409
			order_by ` + "`order`" + `
		}
		action letter {
			mail "mail.lan" {
				from "relay@studio.example"
				to "anna@studio.example" "ben@studio.example"
				subject "An order: {{order}}"
				text "{{total}}"
			}
		}
		action host {
			get "http://lan.example/{{caller_id}}"
			tls_protocols tls1.2 tls1.3
		}
		on paid refunded {
			when ` + "`total > 100`" + `
			do folder letter
		}
		on pbx:incoming_call {
			do host
		}
		on * {
			ignore "of no use"
		}
	}
}
`

// mistake puts a mistake into the sound configuration, in one line of it.
type mistake struct {
	right, wrong string
	// needs has the lines without which the mistake cannot be seen.
	needs string
}

// ofForm are mistakes that the parser finds, ofMeaning those that are found when all is
// read. None is in a line of another.
var (
	ofForm = []mistake{
		{"targets private_ranges lan.example mail.lan", "targets private_ranges lan.example http://mail.lan", ""},
		{"timezone Europe/London", "timezone Europe/Londn", ""},
		{"parameter lan http://192.168.1.20", "parameter lan http://{env.LAN}", ""},
		{"parameter token {env", "parameter token x {env", ""},
		{"default 100", "defualt 100", ""},
		{"tenant 101 200", "tenant 101", ""},
		{"source erp {", "source erp pbxwaer x {", ""},
		{"source erp {", "soruce erp {", ""},
		{"auth bearer {env.EVENT_RELAY_NOT_SET}", "auth bearr {env.EVENT_RELAY_NOT_SET}", ""},
		{"auth hmac X-Signature sha256", "auth hmac X-Signature sha", ""},
		{"allow 10.0.0.0/8 192.168.0.0/16", "allow 10.0.0.0/40 lan", ""},
		{"name_from `body.type`", "name_from `body.type ==`", ""},
		{`event paid "An order was paid."`, "event paid An order was paid.", ""},
		{"event refunded", "evnt refunded", ""},
		{"field order `body.order.id`", "field order `body.order.id = 1`", ""},
		{"field total `body.order.total`", "field total", ""},
		{`subject "Order {{order}}"`, `subject "Order {{order}"`, ""},
		{"dedupe 10m `body.id`", "dedupe soon `body.id`", ""},
		{"redact body.card query.card", `redact "" query.card`, ""},
		{"auth none", "atuh none", ""},
		{"source pbx pbxware {", "source pbx pbxwre {", ""},
		{"action folder {", "action folder for orders {", ""},
		{"action folder {", "actoin folder {", ""},
		{`post "{{lan}}/folders"`, `post {{lan}}/folders`, ""},
		{`post "{{lan}}/folders"`, `psot "{{lan}}/folders"`, ""},
		{`query order "{{order}}"`, `query order`, ""},
		{`header Authorization "Bearer {{token}}"`, `header Authorization "Bearer {env.TOKEN}"`, ""},
		{`desk "{{desk}}"`, `desk "{{desk}"`, ""},
		{"body form {", "body frm {", ""},
		{"retry_for 1h", "retry_for ever", ""},
		{"retry_interval 1s 1m", "retry_interval x y", ""},
		{"success 2xx 409", "success fine 409 good", ""},
		{"order_by `order`", "order_by `order +`", ""},
		{`mail "mail.lan" {`, `mail "mail.lan" x {`, ""},
		{`from "relay@studio.example"`, `form "relay@studio.example"`, ""},
		{`to "anna@studio.example" "ben@studio.example"`, `to "{env.A}" "{env.B}"`, ""},
		{`get "http://lan.example/{{caller_id}}"`, `get "http://lan.example/{{if caller_id}}"`, ""},
		{"tls_protocols tls1.2 tls1.3", "tls_protocols tls1 ssl", ""},
		{"on paid refunded {", `on paid refunded "" {`, ""},
		{"when `total > 100`", "when `total = 100`", ""},
		{"when `total > 100`", "if `total > 100`", ""},
		{"do folder letter", "do folder a,b c,d", ""},
		{"do folder letter", "dp folder letter", ""},
		{"do host", "od host", ""},
		{`ignore "of no use"`, "ignore of no use", ""},
	}
	ofMeaning = []mistake{
		{"targets private_ranges lan.example mail.lan", "targets lan.example mail.lan", "post \"{{lan}}/folders\" and parameter lan http://192.168.1.20"},
		{"event refunded", "event order", ""},
		{"field order `body.order.id`", "field order `bdy.order.id`", ""},
		{`subject "Order {{order}}"`, `subject "Order {{ordr}}"`, ""},
		{"redact body.card query.card", "redact body query.card", ""},
		{`query order "{{order}}"`, `query order "{{ordr}}"`, ""},
		{"total \"{{total}}\"", "total \"{{totl}}\"", ""},
		{"order_by `order`", "order_by `ordr`", ""},
		{`mail "mail.lan" {`, `mail "http://mail.lan" {`, ""},
		{`to "anna@studio.example" "ben@studio.example"`, `to "anna" "ben@studio.example"`, ""},
		{`text "{{total}}"`, `text "{{totl}}"`, ""},
		{`get "http://lan.example/{{caller_id}}"`, `get "http://{{caller_id}}/"`, ""},
		{`get "http://lan.example/{{caller_id}}"`, `get "http://169.254.1.1/"`, ""},
		{"on paid refunded {", "on payed refunded {", ""},
		{"when `total > 100`", "when `totl > 100`", ""},
		{"do folder letter", "do foldr letter", ""},
		{"on pbx:incoming_call {", "on pbx:incomming_call {", ""},
	}
)

// mistakesOf returns what is wrong with a Caddyfile, in no order: what its parser
// says, or, if that finds nothing, what the relay does.
func mistakesOf(t *testing.T, text string) []string {
	t.Helper()
	adapted, err := adapt(t, text)
	if err != nil {
		message := strings.TrimPrefix(err.Error(), "parsing caddyfile tokens for 'event_relay': ")
		if _, list, several := strings.Cut(message, " mistakes:\n  "); several {
			return sorted(strings.Split(strings.ReplaceAll(list, "\n    ", "\a"), "\n  "))
		}
		return []string{strings.ReplaceAll(message, "\n", "\a")}
	}
	var parsed struct {
		Apps map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal([]byte(adapted), &parsed); err != nil {
		t.Fatal(err)
	}
	settings, err := config.Parse(parsed.Apps[sites.RelayHandler])
	if err != nil {
		t.Fatal(err)
	}
	var messages []string
	for _, mistake := range relay.Mistakes(settings) {
		messages = append(messages, strings.ReplaceAll(mistake.Error(), "\n", "\a"))
	}
	return sorted(messages)
}

func sorted(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// TestMistakesAreToldTogether puts each mistake of form beside each of meaning, and
// beside others of form. What is then told is what each leads to by itself: no mistake
// hides another, and none goes away when another is mended.
func TestMistakesAreToldTogether(t *testing.T) {
	if wrong := mistakesOf(t, sound); len(wrong) > 0 {
		t.Fatalf("the sound configuration has mistakes: %q", wrong)
	}
	with := func(text string, m mistake) string {
		if strings.Count(text, m.right) != 1 {
			t.Fatalf("%q is not once in the configuration", m.right)
		}
		return strings.Replace(text, m.right, m.wrong, 1)
	}
	line := func(m mistake) int { return strings.Count(sound[:strings.Index(sound, m.right)], "\n") }
	alone := make(map[mistake][]string)
	for _, m := range slices.Concat(ofForm, ofMeaning) {
		alone[m] = mistakesOf(t, with(sound, m))
		if len(alone[m]) == 0 {
			t.Errorf("%s is no mistake", m.wrong)
		}
	}
	for _, form := range ofForm {
		for _, other := range ofMeaning {
			if line(form) == line(other) || strings.Contains(other.needs, form.right) {
				continue
			}
			got := mistakesOf(t, with(with(sound, form), other))
			if want := sorted(slices.Concat(alone[form], alone[other])); !slices.Equal(got, want) {
				t.Errorf("%s, and %s:\ngot\n  %s\nwant\n  %s", form.wrong, other.wrong, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		}
	}
	// All of form at once, as far as they are in different lines, in groups that a
	// message lists whole.
	for from := 0; from < len(ofForm); from += 12 {
		text, want, lines := sound, []string(nil), make(map[int]bool)
		for _, form := range ofForm[from:min(from+12, len(ofForm))] {
			if lines[line(form)] {
				continue
			}
			lines[line(form)] = true
			text, want = with(text, form), append(want, alone[form]...)
		}
		if got := mistakesOf(t, text); !slices.Equal(got, sorted(want)) {
			t.Errorf("the mistakes from %d on:\ngot\n  %s\nwant\n  %s", from, strings.Join(got, "\n  "), strings.Join(sorted(want), "\n  "))
		}
	}
}
