package postman

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// authentication is what a request proves itself with, once it is known what
// the relay makes of it.
type authentication struct {
	// kind is that of the action, or "header" for a whole Authorization header.
	kind, in string
	name     template
	user     template
	value    template
	// nameOnly says that the name is sent without = and value.
	nameOnly bool
}

// authOf returns the authentication of a request, which it may have from a
// folder or the collection: what has a type counts, the nearest first.
func (c *conversion) authOf(it *item) (kind string, parameters map[string]json.RawMessage) {
	candidates := []json.RawMessage{it.request.Auth}
	for i := len(it.folders) - 1; i >= 0; i-- {
		candidates = append(candidates, it.folders[i].Auth)
	}
	for _, data := range append(candidates, c.collection.root.Auth) {
		var fields map[string]json.RawMessage
		if isObject(data) {
			decode(data, &fields)
		}
		if kind := textOf(fields["type"]); kind != "" {
			return kind, authParameters(fields[kind])
		}
	}
	return "", nil
}

// authParameters reads the parameters of an authentication: an object, or a
// list of keys and values, whatever the version of the collection says.
func authParameters(data json.RawMessage) map[string]json.RawMessage {
	parameters := map[string]json.RawMessage{}
	if isObject(data) {
		decode(data, &parameters)
		return parameters
	}
	for _, p := range listOf(data) {
		parameters[textOf(p.Key)] = cast(p.Value, textOf(p.Type))
	}
	return parameters
}

// cast makes of a value what Postman makes of it if the file names a type.
func cast(value json.RawMessage, kind string) json.RawMessage {
	if first(value) == 0 {
		return value
	}
	switch kind {
	case "string":
		if !isText(value) {
			return json.RawMessage(quoteJSON(valueOf(value)))
		}
	case "boolean":
		return json.RawMessage(strconv.FormatBool(truthy(value)))
	case "number":
		if number := textOf(value); isText(value) {
			if _, err := strconv.ParseFloat(number, 64); err != nil || !json.Valid([]byte(number)) {
				return json.RawMessage("0")
			}
			return json.RawMessage(number)
		}
		if first(value) == 't' {
			return json.RawMessage("1")
		}
	}
	return value
}

// auth converts the authentication, nil for none.
func (c *conversion) auth(it *item) *authentication {
	kind, parameters := c.authOf(it)
	get := func(name string) template {
		if !truthy(parameters[name]) {
			return nil
		}
		return c.parse(textOf(parameters[name]))
	}
	switch kind {
	case "", "noauth":
		return nil
	case "basic":
		return &authentication{kind: "basic", user: get("username"), value: get("password")}
	case "bearer":
		token := get("token")
		if token.isEmpty() {
			return nil
		}
		return &authentication{kind: "bearer", value: token}
	case "apikey":
		in := get("in").known()
		if in == "query" && c.nameOnly("API key", parameters["value"]) {
			return &authentication{kind: config.AuthAPIKey, in: in, name: get("key"), nameOnly: true}
		}
		return c.apiKey(get("key"), c.parse(textOf(parameters["value"])), in)
	case "oauth2":
		return c.oauth2(get, parameters["accessToken"])
	case "digest", "ntlm", "hawk", "awsv4", "oauth1", "edgegrid", "jwt", "asap":
		c.note(Flagged, "authentication %s is computed for each request, which an action cannot: it is sent without", kind)
	default:
		c.note(Flagged, "authentication %q is unknown to Postman as well: it is sent without", kind)
	}
	return nil
}

// nameOnly reports whether Postman sends the name of a credential in the query
// and no value: it takes what is no text there for none.
func (c *conversion) nameOnly(what string, value json.RawMessage) bool {
	if first(value) == 0 || isText(value) {
		return false
	}
	c.note(Flagged, "the value of the %s is %s and no text: as Postman does, only its name is sent", what, cut(oneLine(valueOf(value)), 20))
	return true
}

func (c *conversion) apiKey(name, value template, in string) *authentication {
	if name.isEmpty() && value.isEmpty() {
		return nil
	}
	if name.isEmpty() {
		c.note(Flagged, "the API key has no name and is left out")
		return nil
	}
	if in != "query" {
		in = config.InHeader
	}
	return &authentication{kind: config.AuthAPIKey, in: in, name: name, value: value}
}

func (c *conversion) oauth2(get func(string) template, given json.RawMessage) *authentication {
	token := get("accessToken")
	if token.isEmpty() {
		c.note(Flagged, "authentication oauth2 has no token, which Postman fetches by itself: it is sent without")
		return nil
	}
	c.note(Flagged, "the token of authentication oauth2 is used as it is; it expires, and nothing renews it")
	if get("addTokenTo").known() == "queryParams" {
		if c.nameOnly("token of authentication oauth2", given) {
			return &authentication{kind: config.AuthAPIKey, in: config.InQuery, name: literalOf("access_token"), nameOnly: true}
		}
		return &authentication{kind: config.AuthAPIKey, in: config.InQuery, name: literalOf("access_token"), value: token}
	}
	prefix, fixed := get("headerPrefix").fixed()
	prefix = strings.TrimSpace(prefix)
	if fixed && (prefix == "" || prefix == "Bearer") {
		return &authentication{kind: "bearer", value: token}
	}
	if prefix == "" {
		return &authentication{kind: "header", value: append(append(get("headerPrefix"), piece{literal: " "}), token...)}
	}
	return &authentication{kind: "header", value: append(literalOf(prefix+" "), token...)}
}

// writeAuth puts the authentication into the action and returns the headers
// that remain: it replaces one of the same name.
func (c *conversion) writeAuth(a *authentication, fields []field) []field {
	if a == nil {
		return fields
	}
	c.warnOfCredentials(a)
	c.place(a.user, credential)
	c.place(a.value, credential)
	switch {
	case a.kind == "header" || a.kind == "basic" && (a.user.isEmpty() && a.value.isEmpty() || strings.Contains(a.user.known(), ":")):
		value := a.value
		if a.kind == "basic" {
			// The setting refuses an empty user with an empty password, and a
			// colon in the user's name. A header takes both.
			all := append(append(a.user[:len(a.user):len(a.user)], piece{literal: ":"}), a.value...).joined()
			value = template{{literal: "Basic "}, {expression: "toBase64(" + c.expression(all) + ")"}}
		}
		return append(c.replace(fields, "Authorization"), field{name: literalOf("Authorization"), value: value})
	case a.kind == config.AuthAPIKey && a.value.isEmpty():
		// A key without a value is none, but the name is sent.
		if a.in == config.InQuery {
			c.dropQuery(a.name)
			if a.nameOnly {
				c.addToURL(c.write(a.name, anywhere))
				return fields
			}
			c.note(Flagged, "the API key has no value: as Postman does, its name is sent")
			c.action.Query = append(c.action.Query, config.NameValue{Name: c.write(a.name, anywhere)})
			return fields
		}
		c.note(Flagged, "the API key has no value: as Postman does, its name is sent")
		name, _ := a.name.fixed()
		return append(c.replace(fields, name), field{name: a.name})
	case a.kind == config.AuthAPIKey && a.in == config.InQuery:
		c.dropQuery(a.name)
		c.action.Auth = &config.ActionAuth{Kind: a.kind, In: a.in, Name: c.write(a.name, anywhere), Value: c.write(a.value, anywhere)}
		if !means(a.value, "!$()*,:@/?[]=") {
			c.note(Changed, "the API key arrives as it reads: the relay encodes + and %% in it, and Postman does not")
		}
	case a.kind == config.AuthAPIKey:
		if name, fixed := a.name.fixed(); fixed {
			fields = c.replace(fields, name)
		}
		c.action.Auth = &config.ActionAuth{Kind: a.kind, In: a.in, Name: c.write(a.name, headerName), Value: c.write(a.value, anywhere)}
	default:
		fields = c.replace(fields, "Authorization")
		c.action.Auth = &config.ActionAuth{Kind: a.kind}
		secret := c.write(a.value, anywhere)
		if a.kind == config.AuthBasic {
			c.action.Auth.User, c.action.Auth.Password = c.write(a.user, anywhere), secret
		} else {
			c.action.Auth.Value = secret
		}
	}
	return fields
}

// replace drops the headers that an authentication replaces. Postman does not
// tell - from _ there.
func (c *conversion) replace(fields []field, name string) []field {
	alike := func(text string) string { return strings.ToLower(strings.ReplaceAll(text, "_", "-")) }
	rest, found := without(fields, func(f *field) bool {
		text, fixed := f.name.fixed()
		return fixed && alike(text) == alike(name)
	})
	if found {
		c.note(Changed, "header %s is left out: the authentication replaces it", name)
	}
	return rest
}

// addToURL adds to the end of the query, which stands in the URL then: a query
// setting always has a value.
func (c *conversion) addToURL(text string) {
	var all []string
	for _, pair := range c.action.Query {
		all = append(all, pair.Name+"="+pair.Value)
	}
	separator := "?"
	if strings.Contains(c.action.URL, "?") {
		separator = "&"
	}
	c.action.URL += separator + strings.Join(append(all, text), "&")
	c.action.Query = nil
}

// dropQuery drops the query values that an API key replaces.
func (c *conversion) dropQuery(name template) {
	key := c.write(name, anywhere)
	dropped := false
	var rest []config.NameValue
	for _, pair := range c.action.Query {
		if pair.Name == key {
			dropped = true
			continue
		}
		rest = append(rest, pair)
	}
	c.action.Query = rest
	if path, query, found := strings.Cut(c.action.URL, "?"); found {
		var kept []string
		for one := range strings.SplitSeq(query, "&") {
			if text, _, _ := strings.Cut(one, "="); text == key {
				dropped = true
				continue
			}
			kept = append(kept, one)
		}
		if c.action.URL = path; kept != nil {
			c.action.URL += "?" + strings.Join(kept, "&")
		}
	}
	if dropped {
		c.note(Changed, "query value %s is left out: the authentication replaces it", key)
	}
}

// warnOfCredentials flags a secret that stands in the collection as plain text.
func (c *conversion) warnOfCredentials(a *authentication) {
	if text, fixed := a.value.fixed(); fixed && text != "" {
		c.note(Flagged, "the credentials stand in the collection as plain text; better write: parameter NAME {env.NAME}, and {{NAME}} in their place")
	}
}
