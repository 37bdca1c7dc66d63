package caddymodule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// masked stands in place of a secret.
const masked = "***"

// snapshot returns the configuration as indented JSON without secrets, to be
// kept with the history: years later it can say what the rules were, and it
// must not say more. A value that is wholly {env.NAME} or {file./path} stays as
// it is written; a secret that stands in the configuration itself is masked.
func (a *App) snapshot() (json.RawMessage, error) {
	// What is masked is a copy: the configuration itself is still needed.
	written, err := json.Marshal(a)
	if err != nil {
		return nil, fmt.Errorf("taking a snapshot of the configuration: %w", err)
	}
	without := new(App)
	if err := json.Unmarshal(written, without); err != nil {
		return nil, fmt.Errorf("taking a snapshot of the configuration: %w", err)
	}
	without.maskSecrets()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	// People read it: && is not to be \u0026\u0026.
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "\t")
	if err := encoder.Encode(without); err != nil {
		return nil, fmt.Errorf("taking a snapshot of the configuration: %w", err)
	}
	return bytes.TrimSpace(text.Bytes()), nil
}

// maskSecrets masks what the configuration holds of secrets.
func (a *App) maskSecrets() {
	for i := range a.Sources {
		for j := range a.Sources[i].Auth {
			credential := &a.Sources[i].Auth[j]
			credential.Password = maskLiteral(credential.Password)
			maskLiterals(credential.Values)
		}
	}
	// Parameters that stand where a credential is wanted hold one.
	secret := make(map[string]bool)
	for i := range a.Actions {
		maskAction(&a.Actions[i], secret)
	}
	a.maskParameters(secret)
}

// maskAction masks what an action holds of secrets, and notes the names of the
// parameters that stand for one.
func maskAction(a *config.Action, secret map[string]bool) {
	within := func(text string) string { return maskWithin(text, secret) }
	// Of what is called like a secret, the value is one.
	byName := func(name, value string) string {
		if namesSecret.MatchString(name) || namesScheme.MatchString(value) {
			return maskTemplate(value, secret)
		}
		return within(value)
	}
	a.URL = within(a.URL)
	for _, pairs := range [][]config.NameValue{a.Query, a.Headers} {
		for i, pair := range pairs {
			pairs[i].Value = byName(pair.Name, pair.Value)
		}
	}
	if auth := a.Auth; auth != nil {
		if auth.Kind == "basic" && auth.Password == "" {
			// Some services want a key for the user, and nothing for the password.
			auth.User = maskTemplate(auth.User, secret)
		}
		auth.Value, auth.Password = maskTemplate(auth.Value, secret), maskTemplate(auth.Password, secret)
	}
	if body := a.Body; body != nil {
		body.Text = within(body.Text)
		for i, field := range body.Fields {
			body.Fields[i].Value = byName(field.Name, field.Value)
		}
	}
	maskLiterals(a.Sign)
}

// maskParameters masks the values of the parameters that are secret, and of
// those in them.
func (a *App) maskParameters(secret map[string]bool) {
	// A value may hold further parameters, the values of those yet others.
	for known := -1; known != len(secret); {
		known = len(secret)
		for i := range a.Parameters {
			maskParameter(&a.Parameters[i], secret)
		}
	}
}

// maskParameter masks what the parameter holds of secrets, and notes the names of the
// parameters that stand for one. It changes nothing the second time.
func maskParameter(p *config.Parameter, secret map[string]bool) {
	mask := maskWithin
	if secret[p.Name] || namesSecret.MatchString(p.Name) {
		mask = maskTemplate
	}
	p.Value = mask(p.Value, secret)
	for tenant, value := range p.Tenants {
		p.Tenants[tenant] = mask(value, secret)
	}
}

func maskLiterals(texts []string) {
	for i, text := range texts {
		texts[i] = maskLiteral(text)
	}
}

// maskLiteral masks a secret, unless it is a reference to where it stands.
func maskLiteral(text string) string {
	if text == "" || secretReference.MatchString(text) {
		return text
	}
	return masked
}

// plainTag finds tags that hold nothing but a name or a path, and therefore no
// text that could be a secret.
var plainTag = regexp.MustCompile(`\{\{\s*[\pL_][\pL\pN_]*(?:\.[\pL\pN_]+)*\s*\}\}`)

var (
	tag        = regexp.MustCompile(`(?s)\{\{.*?\}\}`)
	identifier = regexp.MustCompile(`[\pL_][\pL\pN_]*`)
)

// noteTags notes the names in the tags of a template, those of parameters and
// others.
func noteTags(text string, names map[string]bool) {
	for _, found := range tag.FindAllString(text, -1) {
		for _, name := range identifier.FindAllString(found, -1) {
			names[name] = true
		}
	}
}

// maskTemplate masks a template that is a secret, but for plain tags, and notes
// the names in its tags.
func maskTemplate(text string, names map[string]bool) string {
	if secretReference.MatchString(text) {
		return text
	}
	noteTags(text, names)
	var kept strings.Builder
	end := 0
	literal := func(text string) {
		if strings.TrimSpace(text) != "" {
			text = masked
		}
		kept.WriteString(text)
	}
	for _, tag := range plainTag.FindAllStringIndex(text, -1) {
		literal(text[end:tag[0]])
		kept.WriteString(text[tag[0]:tag[1]])
		end = tag[1]
	}
	literal(text[end:])
	return kept.String()
}

const (
	// secretNames are words in the names of headers, query values, fields and
	// parameters whose values are secrets.
	secretNames = `authorization|cookie|passw|passphrase|passcode|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|` +
		`signature|credential|session[-_]?id|jwt`
	// secretEnds are words with which such names end.
	secretEnds = `key|auth|sig|pass|pin`
)

var (
	namesSecret = regexp.MustCompile(`(?i)` + secretNames + `|(?:^|[-_. ])(?:` + secretEnds + `)$`)
	// namesScheme finds what a header of any name can be to prove something.
	namesScheme = regexp.MustCompile(`(?i)^\s*(?:bearer|basic)\s`)

	// withinTexts find secrets in the midst of texts, which are their second
	// groups: before the host of a URL, in a query or form, in JSON (strings, and
	// numbers), in XML (elements, and attributes).
	withinTexts = []*regexp.Regexp{
		regexp.MustCompile(`(://)((?:\{\{.*?\}\}|[^/\s"?#])+)(@)`),
		regexp.MustCompile(`(?i)((?:^|[?&\s])(?:[^=&?#{}\s"<>]*(?:` + secretNames + `)[^=&?#{}\s"<>]*|(?:[^=&?#{}\s"<>]*[-_.])?(?:` + secretEnds +
			`))=)((?:\{\{.*?\}\}|[^&#\s"'])(?:\{\{.*?\}\}|[^&#\s"])*)()`),
		regexp.MustCompile(`(?i)("(?:[^"\\{}]*(?:` + secretNames + `)[^"\\{}]*|pass|pin)"\s*:\s*")((?:\{\{.*?\}\}|[^"\\]|\\.)+)(")`),
		regexp.MustCompile(`(?i)("(?:[^"\\{}]*(?:` + secretNames + `)[^"\\{}]*|pass|pin)"\s*:\s*)(-?\d[\w.+-]*)()`),
		regexp.MustCompile(`(?i)(<(?:[^<>/{}]*(?:` + secretNames + `)[^<>{}]*|pass|pin)>)((?:\{\{.*?\}\}|[^<])+)(</)`),
		regexp.MustCompile(`(?i)(\s(?:[\w:.-]*(?:` + secretNames + `)[\w:.-]*|pass|pin|key)\s*=\s*["'])((?:\{\{.*?\}\}|[^"'<>])+)(["'])`),
	}
)

// maskWithin masks what looks like a secret in the midst of a text, and notes
// the names in its tags.
func maskWithin(text string, names map[string]bool) string {
	for _, within := range withinTexts {
		text = within.ReplaceAllStringFunc(text, func(found string) string {
			parts := within.FindStringSubmatch(found)
			secret := maskTemplate(parts[2], names)
			if secret == masked && parts[3] == "" && strings.HasPrefix(parts[1], `"`) {
				secret = `"` + masked + `"` // in JSON, instead of a number
			}
			return parts[1] + secret + parts[3]
		})
	}
	return text
}
