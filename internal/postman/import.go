package postman

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/caddymodule/caddyfile/printer"
	actiontemplate "github.com/caddy-event-relay/event-relay/handlers/forward/template"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/rules/language"
)

// Options say what of a collection is imported, and how.
type Options struct {
	// Environment gives values to variables, before the collection. Default:
	// nil, none.
	Environment *Environment

	// Select chooses requests: by number, by name, or by the name or path of a
	// folder, in any letter case. Default: all.
	Select []string

	// Prefix begins the names of all actions and parameters, so that two
	// collections do not clash. It is made of letters, digits and underscores,
	// and begins with a letter. Default: none.
	Prefix string
}

// Kind says what became of something.
type Kind string

// The kinds of findings.
const (
	// Changed is for what is sent otherwise, or called otherwise.
	Changed Kind = "changed"
	// Flagged is for what the administrator should look at.
	Flagged Kind = "flagged"
	// LeftOut is for what was not imported.
	LeftOut Kind = "left out"
)

// Finding is one line of the report on an import.
type Finding struct {
	// Number and Name are the request's; 0 and "" for the whole file.
	Number int    `json:"number,omitempty"`
	Name   string `json:"name,omitempty"`
	Kind   Kind   `json:"kind"`
	Text   string `json:"text"`
}

// Parameter is a custom parameter.
type Parameter struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	// From is the variable's name in the collection.
	From string `json:"from,omitempty"`
	// Undefined says that the collection gives no value, so that the
	// administrator must: Value only lets the configuration load.
	Undefined bool `json:"undefined,omitempty"`
}

// Imported is an imported request.
type Imported struct {
	Request
	Action config.Action `json:"-"`
	// ActionName is the name of the action.
	ActionName string `json:"action"`
}

// Import is what a collection became.
type Import struct {
	Collection string
	Imported   []Imported
	// Parameters are those that the actions use, undefined ones first.
	Parameters []Parameter
	Findings   []Finding
	// LeftOut counts the requests that were chosen and could not be imported.
	LeftOut int
}

// conversion turns one request into an action.
type conversion struct {
	collection *Collection
	vars       *variables
	item       *item
	action     config.Action
	findings   []Finding
	// fromURL is the authentication that stands in the URL.
	fromURL *authentication
	left    bool
}

func (c *conversion) parse(text string) template { return c.vars.parse(text) }

// note adds a finding, once.
func (c *conversion) note(kind Kind, format string, arguments ...any) {
	finding := Finding{Number: c.item.Number, Name: c.item.Name, Kind: kind, Text: fmt.Sprintf(format, arguments...)}
	for _, known := range c.findings {
		if known == finding {
			return
		}
	}
	c.findings = append(c.findings, finding)
}

// leaveOut notes why the request cannot be imported.
func (c *conversion) leaveOut(format string, arguments ...any) {
	c.left = true
	c.note(LeftOut, format, arguments...)
}

// Import converts the chosen requests. What cannot be an action is left out, and
// the findings say why; an error means that nothing was imported.
func (c *Collection) Import(options Options) (*Import, error) {
	if options.Prefix != "" && (!isIdentifier.MatchString(options.Prefix) || len(options.Prefix) > 32) {
		return nil, fmt.Errorf("the prefix %q cannot begin the name of a parameter: it is made of letters, digits and underscores, at most 32, and begins with a letter",
			options.Prefix)
	}
	chosen, err := c.choose(options.Select)
	if err != nil {
		return nil, err
	}
	result := &Import{Collection: c.name}
	vars := newVariables(c, options.Environment, options.Prefix)
	names := newNames(c.items, options.Prefix)
	for _, it := range chosen {
		one := &conversion{collection: c, vars: vars, item: it}
		one.convert(names.of(it))
		result.Findings = append(result.Findings, one.findings...)
		if one.left {
			result.LeftOut++
			continue
		}
		result.Imported = append(result.Imported, Imported{Request: it.Request, Action: one.action, ActionName: one.action.Name})
	}
	result.parameters(vars)
	result.check()
	result.wholeFile(c, vars)
	return result, nil
}

// convert converts the request.
func (c *conversion) convert(name string) {
	it := c.item
	if it.missing {
		c.leaveOut("it has no request")
		return
	}
	c.action = config.Action{Name: name, Method: it.Method, Description: describeItem(it)}
	if !slices.Contains(config.Methods, it.Method) {
		c.leaveOut("an action cannot have the method %q; there are %s", oneLine(it.Method), strings.Join(config.Methods, ", "))
		return
	}
	c.vars.overflow = false
	fields := c.headers(it.request.Header)
	c.address(it)
	if c.left {
		return
	}
	fields = c.body(it, fields)
	auth := c.auth(it)
	switch {
	case auth == nil:
		auth = c.fromURL
	case c.fromURL != nil:
		c.note(Changed, "user and password in the URL are left out: the request has another authentication")
	}
	c.writeHeaders(c.writeAuth(auth, fields))
	c.noteBehavior()
	if c.vars.overflow || c.size() > maxTemplate*4 {
		c.leaveOut("with its variables put in it is larger than any request should be")
	}
	if _, err := printer.Actions(nil, []config.Action{c.action}); err != nil && !c.left {
		c.leaveOut("%v", err)
	}
}

// size returns how large the action is, in bytes.
func (c *conversion) size() int {
	size := len(c.action.URL)
	for _, p := range append(c.action.Query, c.action.Headers...) {
		size += len(p.Name) + len(p.Value)
	}
	if body := c.action.Body; body != nil {
		size += len(body.Text)
		for _, f := range body.Fields {
			size += len(f.Name) + len(f.Value)
		}
	}
	return size
}

// describeItem returns the description of the action: where the request stood in
// the collection, and what was said about it.
func describeItem(it *item) string {
	text := it.Name
	if text == "" {
		text = fmt.Sprintf("request %d", it.Number)
	}
	if it.Folder != "" {
		text = it.Folder + " / " + text
	}
	if about := oneLine(firstLine(describe(it.request.Description))); about != "" {
		text += ": " + about
	}
	// Braces and backslashes are nothing that a description needs, and would
	// only have to be protected from Caddy.
	text = strings.Map(func(r rune) rune {
		switch r {
		case '{':
			return '('
		case '}':
			return ')'
		case '\\':
			return '/'
		case '`':
			return '\''
		case '\ufeff':
			return -1
		}
		return r
	}, text)
	return cut(text, 200)
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return line
}

// cut cuts a text to a number of characters.
func cut(text string, most int) string {
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	return strings.TrimSpace(string(runes[:most])) + "…"
}

// parameters lists the parameters that the actions use.
func (r *Import) parameters(vars *variables) {
	var given []Parameter
	for _, v := range vars.order {
		if !v.used {
			continue
		}
		p := Parameter{Name: v.identifier, Value: v.value, From: strings.TrimPrefix(v.name, standInMark)}
		if p.Undefined = v.lacksValue(); p.Undefined {
			p.Value = v.placeholder()
			r.Parameters = append(r.Parameters, p)
		} else {
			given = append(given, p)
		}
	}
	r.Parameters = append(r.Parameters, given...)
}

// check compiles each action with the parameters, as loading the text does, and
// leaves out what cannot be loaded.
func (r *Import) check() {
	definitions := language.Definitions{}
	for _, p := range r.Parameters {
		definitions.Parameters = append(definitions.Parameters, config.Parameter{Name: p.Name, Value: p.Value})
	}
	language, err := language.New(definitions)
	kept := r.Imported[:0]
	for _, one := range r.Imported {
		compile := func() error {
			if err != nil {
				return err
			}
			if err := errors.Join(one.Action.Check()...); err != nil {
				return err
			}
			_, err := actiontemplate.Compile([]config.Action{one.Action}, language, actiontemplate.Settings{})
			return err
		}
		wrong := compile()
		if wrong != nil && one.Action.Body != nil && one.Action.Body.Kind == config.BodyXML {
			// Postman calls XML whatever its user does; as raw text it is not
			// checked.
			one.Action.Body.Kind, one.Action.Body.Type = config.BodyRaw, "application/xml"
			wrong = compile()
		}
		if wrong == nil {
			kept = append(kept, one)
			continue
		}
		r.LeftOut++
		r.Findings = append(r.Findings, Finding{Number: one.Number, Name: one.Name, Kind: LeftOut, Text: reason(wrong, one.ActionName)})
	}
	r.Imported = kept
}

// reason returns why an action does not compile, without its name, which stands
// beside it.
func reason(err error, name string) string {
	if all, ok := err.(interface{ Unwrap() []error }); ok && len(all.Unwrap()) > 0 {
		err = all.Unwrap()[0]
	}
	text := strings.TrimPrefix(err.Error(), "action "+name)
	return cut(oneLine(strings.TrimLeft(text, ",: ")), 300)
}
