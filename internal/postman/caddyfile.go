package postman

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/forward"
)

// Caddyfile writes parameters and actions as text to be imported into the
// event_relay block of a Caddyfile, as `caddy fmt` leaves it. Reading it gives
// the same parameters and actions. An error names everything that a Caddyfile
// cannot say, and the text is then without it.
func Caddyfile(parameters []Parameter, actions []forward.Action) (string, error) {
	w := new(textWriter)
	w.parameters(parameters)
	for i := range actions {
		w.action(&actions[i])
	}
	return w.String(), errors.Join(w.wrong...)
}

// Caddyfile writes what was imported, undefined parameters on top.
func (r *Import) Caddyfile() (string, error) {
	w := new(textWriter)
	w.comment("From the Postman collection " + cut(oneLine(r.Collection), 80) + ", to be imported into the event_relay block.")
	undefined := slices.IndexFunc(r.Parameters, func(p Parameter) bool { return !p.Undefined })
	if undefined < 0 {
		undefined = len(r.Parameters)
	}
	if undefined > 0 {
		w.blank()
		w.comment("Undefined: the collection gives these no value. Fill them in before a rule")
		w.comment("does one of the actions; what stands here only lets the configuration load.")
		w.parameters(r.Parameters[:undefined])
	}
	if undefined < len(r.Parameters) {
		w.blank()
		w.comment("From the collection and its environment.")
		w.parameters(r.Parameters[undefined:])
	}
	for i := range r.Imported {
		w.action(&r.Imported[i].Action)
	}
	return w.String(), errors.Join(w.wrong...)
}

// textWriter writes the lines of a Caddyfile.
type textWriter struct {
	strings.Builder
	// what is the setting that is being written, for errors.
	what   string
	indent int
	wrong  []error
}

func (w *textWriter) blank() {
	if w.Len() > 0 {
		w.WriteByte('\n')
	}
}

// comment writes a line for people. Braces would mean something to Caddy, which
// looks for variables of the environment in comments too.
func (w *textWriter) comment(text string) {
	w.WriteString(strings.TrimSpace("# "+strings.NewReplacer("{", "(", "}", ")").Replace(text)) + "\n")
}

// line writes a line: words that are written as they are, then arguments that
// are quoted.
func (w *textWriter) line(words string, arguments ...string) {
	tokens := []string{words}
	for _, argument := range arguments {
		token, err := quote(argument)
		if err != nil {
			w.fail(words, err)
			return
		}
		tokens = append(tokens, token)
	}
	w.WriteString(strings.Repeat("\t", w.indent) + strings.Join(tokens, " ") + "\n")
}

func (w *textWriter) fail(setting string, err error) {
	w.wrong = append(w.wrong, fmt.Errorf("writing %s of %s: %w", setting, w.what, err))
}

// open and close write the lines around a block.
func (w *textWriter) open(words string) {
	w.line(words + " {")
	w.indent++
}

func (w *textWriter) close() {
	w.indent--
	w.line("}")
}

func (w *textWriter) parameters(parameters []Parameter) {
	for _, p := range parameters {
		w.what = "parameter " + p.Name
		if p.From != "" && !strings.HasSuffix(p.Name, p.From) {
			w.comment("In the collection: " + cut(oneLine(p.From), 80))
		}
		if len(p.Tenants) == 0 {
			w.line("parameter", p.Name, p.Value)
			continue
		}
		w.open("parameter " + p.Name)
		if p.Value != "" {
			w.line("default", p.Value)
		}
		for _, code := range slices.Sorted(maps.Keys(p.Tenants)) {
			w.line("tenant", code, p.Tenants[code])
		}
		w.close()
	}
}

func (w *textWriter) action(a *forward.Action) {
	w.what = "action " + a.Name
	w.blank()
	w.open("action " + a.Name)
	if a.Description != "" {
		w.line("description", a.Description)
	}
	w.line(strings.ToLower(a.Method), a.URL)
	for _, pair := range a.Query {
		w.line("query", pair.Name, pair.Value)
	}
	for _, pair := range a.Headers {
		w.line("header", pair.Name, pair.Value)
	}
	w.auth(a.Auth)
	w.body(a.Body)
	w.delivery(a)
	w.tls(a.TLS)
	w.close()
}

func (w *textWriter) auth(auth forward.Auth) {
	switch auth.Kind {
	case forward.AuthAPIKey:
		w.line("auth api_key "+auth.In, auth.Name, auth.Value)
	case forward.AuthBasic:
		w.line("auth basic", auth.User, auth.Value)
	case forward.AuthBearer:
		w.line("auth bearer", auth.Value)
	}
}

func (w *textWriter) body(body forward.Body) {
	switch body.Kind {
	case forward.BodyForm, forward.BodyURLEncoded:
		w.open("body " + body.Kind)
		for _, field := range body.Fields {
			name, err := quoteFirst(field.Name)
			if err != nil {
				w.fail("body "+body.Kind, err)
				continue
			}
			if field.Type != "" {
				w.line(name, field.Value, field.Type)
			} else {
				w.line(name, field.Value)
			}
		}
		w.close()
	case forward.BodyJSON, forward.BodyXML:
		w.line("body "+body.Kind, body.Text)
	case forward.BodyRaw:
		if body.Type != "" {
			w.line("body raw", body.Type, body.Text)
		} else {
			w.line("body raw", body.Text)
		}
	case forward.BodyForward:
		w.line("body forward")
	}
}

// delivery writes the settings that are given. Zero stands for the default.
func (w *textWriter) delivery(a *forward.Action) {
	duration := func(setting string, d time.Duration) {
		if d > 0 {
			w.line(setting, durationText(d))
		}
	}
	duration("timeout", a.Timeout)
	if len(a.Success) > 0 {
		w.line("success", a.Success...)
	}
	if duration("retry_for", a.RetryFor); a.RetryFor < 0 {
		w.line("retry_for off")
	}
	switch first, longest := a.RetryFirst, a.RetryCap; {
	case first > 0 && longest > 0:
		w.line("retry_interval", durationText(first), durationText(longest))
	case first > 0 || longest > 0:
		w.fail("retry_interval", errors.New("a Caddyfile says both the first pause and the longest, or neither"))
	}
	if a.Concurrency > 0 {
		w.line("concurrency", strconv.Itoa(a.Concurrency))
	}
	if a.Rate.Count > 0 {
		w.rate(a.Rate)
	}
	duration("expires", a.Expires)
	if a.OrderBy != "" {
		w.line("order_by", a.OrderBy)
	}
	if len(a.Sign) > 0 {
		w.line("sign", a.Sign...)
	}
}

func (w *textWriter) rate(rate forward.Rate) {
	for unit, per := range map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour} {
		if rate.Per == per {
			w.line("rate", strconv.Itoa(rate.Count)+"/"+unit)
			return
		}
	}
	w.fail("rate", fmt.Errorf("a Caddyfile counts by the second, minute or hour, not by %s", rate.Per))
}

func (w *textWriter) tls(tls *forward.TLS) {
	if tls == nil {
		return
	}
	if len(tls.CAFiles) > 0 {
		w.line("tls_trust_pool file", tls.CAFiles...)
	}
	if tls.ClientCertificateFile != "" {
		w.line("tls_client_auth", tls.ClientCertificateFile, tls.ClientKeyFile)
	}
	if tls.ServerName != "" {
		w.line("tls_server_name", tls.ServerName)
	}
	if len(tls.Pins) > 0 {
		w.line("tls_pin", tls.Pins...)
	}
	switch {
	case tls.ProtocolMax != "" && tls.ProtocolMin == "":
		w.fail("tls_protocols", errors.New("a Caddyfile says the lowest version with the highest"))
	case tls.ProtocolMax != "":
		w.line("tls_protocols", tls.ProtocolMin, tls.ProtocolMax)
	case tls.ProtocolMin != "":
		w.line("tls_protocols", tls.ProtocolMin)
	}
	if tls.InsecureSkipVerify {
		w.line("tls_insecure_skip_verify")
	}
}

// durationText writes a duration as people do: 24h and not 24h0m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
