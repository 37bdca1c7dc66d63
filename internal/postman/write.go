package postman

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/caddy-event-relay/event-relay/caddymodule/caddyfile/printer"
)

// place is where a tag stands, as far as that decides what may stand there. A
// variable without a value gets one that the place accepts, so the order counts:
// a later place asks for more.
type place uint8

const (
	anywhere place = iota
	inPath
	// wholeSegment is a segment of a path with nothing beside the tag.
	wholeSegment
	// credential is the token, key or password of an authentication.
	credential
	bareInJSON
	contentType
	headerName
	port
	scheme
	hostName
	// baseURL is the beginning of a URL: scheme, host and perhaps more.
	baseURL
)

// configured reports whether only the configuration may choose what stands at
// the place.
func (p place) configured() bool { return p >= contentType }

// write writes a template as the relay reads it.
func (c *conversion) write(t template, where place) string {
	var w writer
	t = t.joined()
	for i := range t {
		p := &t[i]
		switch {
		case !p.isTag():
			w.literal(p.literal)
		case p.parameter != nil:
			p.parameter.use(where)
			if p.inString {
				w.tag("trimSuffix(trimPrefix(tojson(" + p.parameter.identifier + `), '"'), '"')`)
				continue
			}
			w.tag(p.parameter.identifier)
		case where.configured():
			v := c.standIn(p.name)
			v.use(where)
			w.tag(v.identifier)
		default:
			c.vars.seen[p.name] = true
			w.tag(p.event + p.expression)
		}
	}
	return mendWhole(string(w))
}

// writer writes templates as the relay reads them.
type writer []byte

// tag writes an expression. A brace before it would be taken for a part of it.
func (w *writer) tag(expression string) {
	if last := len(*w) - 1; last >= 0 && (*w)[last] == '{' {
		*w = append((*w)[:last], "{{'{'}}"...)
	}
	*w = append(*w, "{{"...)
	*w = append(*w, expression...)
	*w = append(*w, "}}"...)
}

// Braces that the relay or Caddy would take for something of theirs: a tag, a
// variable of the environment (which Caddy puts into the bytes of a file), an
// argument of an import, a secret.
var special = regexp.MustCompile(`^\{(\$|args|block|env\.|file\.)`)

// literal writes text that is no tag. What could be taken for one, or for
// anything of Caddy's, becomes a text in an expression, which reads the same
// wherever it stands.
func (w *writer) literal(text string) {
	for i := 0; i < len(text); {
		run := i + 1
		for run < len(text) && text[run] == text[i] {
			run++
		}
		switch {
		case text[i] == '{' && (run-i > 1 || special.MatchString(text[i:min(len(text), i+8)])):
			w.tag("'" + text[i:run] + "'")
		case text[i] == '\\' && (run == len(text) || text[run] == '{' || text[run] == '}'):
			// A backslash before a brace is lost in an import, and none can
			// stand before a quote that ends a text.
			w.tag("'" + strings.Repeat(`\\`, run-i) + "'")
		default:
			*w = append(*w, text[i:run]...)
		}
		i = run
	}
}

// torn matches what the relay takes for a template that `caddy fmt` has torn
// apart, where it stands alone.
var torn = regexp.MustCompile(`^\{ ?[\pL_][^{}"]*\}\}|^\{+$`)

// mendWhole mends what is wrong with a template only as a whole.
func mendWhole(text string) string {
	if text != "" && strings.TrimSpace(text) == "" {
		// A setting that is blank counts as empty.
		text = "{{" + expressionText(text) + "}}"
	}
	if torn.MatchString(text) {
		text = "{{'{'}}" + text[1:]
	}
	if printer.UnclosedBraces(text) > printer.MostUnclosed {
		brace := strings.LastIndexByte(text, '{')
		text = text[:brace] + "{{'{'}}" + text[brace+1:]
	}
	if strings.Contains(text, "`") && !printer.FitsDoubleQuotes(text) {
		text = backticks.ReplaceAllStringFunc(text, func(found string) string {
			return "{{'" + strings.ReplaceAll(found[:len(found)-1], `\`, `\\`) + `\x60'}}`
		})
	}
	return text
}

// backticks matches a backtick, which backticks cannot hold, with the
// backslashes before it, which cannot stand before a brace.
var backticks = regexp.MustCompile("\\\\*`")

// fieldName writes the name of a form's field. It begins a line of the
// Caddyfile, which has fewer quotes to offer.
func (c *conversion) fieldName(name string) string {
	text := c.write(c.parse(name), anywhere)
	if text == "import" {
		return "{{'import'}}"
	}
	if _, err := printer.QuoteFirst(text); err != nil {
		text = doubleQuotes.ReplaceAllStringFunc(text, func(found string) string {
			return "{{'" + strings.ReplaceAll(found[:len(found)-1], `\`, `\\`) + `\x22'}}`
		})
	}
	return text
}

var doubleQuotes = regexp.MustCompile(`\\*"`)

// expression writes a template as one expression.
func (c *conversion) expression(t template) string {
	parts := make([]string, 0, len(t))
	for _, p := range t {
		switch {
		case !p.isTag():
			parts = append(parts, expressionText(p.literal))
		case p.parameter != nil:
			p.parameter.use(anywhere)
			parts = append(parts, p.parameter.identifier)
		default:
			c.vars.seen[p.name] = true
			parts = append(parts, "string("+p.event+p.expression+")")
		}
	}
	if parts == nil {
		return "''"
	}
	return strings.Join(parts, " + ")
}

// expressionText writes a text in an expression, without anything that means
// something to Caddy.
func expressionText(text string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range text {
		if r < ' ' || strings.ContainsRune("'\"\\`{}$", r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
