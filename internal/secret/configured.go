package secret

import (
	"regexp"
	"strings"
)

// reference is a value that is wholly a reference to the environment or to a file.
var reference = regexp.MustCompile(`^\{(env|file)\.[^{}]+\}$`)

// IsReference reports whether a configured text says where a secret stands, as
// {env.NAME} or {file./path} does, and therefore holds none.
func IsReference(text string) bool { return reference.MatchString(text) }

// Literal masks a text that is a secret, unless it is empty or a reference.
func Literal(text string) string {
	if text == "" || IsReference(text) {
		return text
	}
	return Masked
}

// Named reports whether the name of a header, query value, field or parameter says
// that its value is a secret.
func Named(name string) bool { return namesSecret.MatchString(name) }

// Proves reports whether the value of a header, whatever its name, is one with which
// a request proves itself.
func Proves(value string) bool { return namesScheme.MatchString(value) }

// userInURL is user and password in a URL.
var userInURL = regexp.MustCompile(`^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/?#]*@`)

// URL masks user and password in the template of a URL.
func URL(text string) string { return userInURL.ReplaceAllString(text, "${1}"+Masked+"@") }

// Header masks the value of a header field of a request. Of Authorization the scheme
// is kept. It masks the fields that exist to hold a credential: that may stand in
// the configuration as plain text, which nothing has declared a secret.
func Header(name, value string) string {
	switch {
	case strings.EqualFold(name, "Authorization"):
		scheme, _, found := strings.Cut(value, " ")
		if !found {
			return Masked
		}
		return scheme + " " + Masked
	case strings.EqualFold(name, "Cookie"):
		return Masked
	}
	return value
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

// Template masks a template that is a secret, but for tags that hold nothing but a
// name, and notes the names in its tags. A reference to where a secret stands stays.
func Template(text string, names map[string]bool) string {
	if IsReference(text) {
		return text
	}
	noteTags(text, names)
	var kept strings.Builder
	end := 0
	literal := func(text string) {
		if strings.TrimSpace(text) != "" {
			text = Masked
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

// Within masks what looks like a secret in the midst of a template (in a URL, a
// query, JSON or XML), and notes the names in the tags of what it masks.
func Within(text string, names map[string]bool) string {
	for _, within := range withinTexts {
		text = within.ReplaceAllStringFunc(text, func(found string) string {
			parts := within.FindStringSubmatch(found)
			secret := Template(parts[2], names)
			if secret == Masked && parts[3] == "" && strings.HasPrefix(parts[1], `"`) {
				secret = `"` + Masked + `"` // in JSON, instead of a number
			}
			return parts[1] + secret + parts[3]
		})
	}
	return text
}
