package caddymodule

import (
	"regexp"
	"strings"
)

// actionLevel holds the settings of an action.
var actionLevel = level[Action]{name: "an action block", settings: []setting[Action]{
	{name: "description", usage: `"TEXT"`, wants: "one text, in quotes", least: 1, most: 1, read: func(l *line, a *Action) error {
		a.Description = l.text(0)
		return nil
	}},
	request("get"),
	request("post"),
	request("put"),
	request("patch"),
	request("delete"),
	{name: "query", usage: `NAME "VALUE"`, wants: "a name and a value", least: 2, most: 2, repeat: true, read: func(l *line, a *Action) error {
		return readNameValue(l, &a.Query)
	}},
	{name: "header", usage: `NAME "VALUE"`, wants: "a name and a value", least: 2, most: 2, repeat: true, read: func(l *line, a *Action) error {
		return readNameValue(l, &a.Headers)
	}},
	{name: "body", usage: "none|json|raw …", wants: "a kind", least: 1, most: -1, block: true, read: bodyKinds.pick},
	{name: "timeout", usage: "DURATION", wants: "a duration", least: 1, most: 1, read: func(l *line, a *Action) (err error) {
		a.Timeout, err = l.duration(0)
		return err
	}},
	{name: "success", usage: "STATUS…", wants: "one or more statuses, such as 2xx or 409", least: 1, most: -1, repeat: true, read: readSuccess},
	{name: "retry_for", usage: "DURATION|off", wants: "a duration, or off", least: 1, most: 1, read: func(l *line, a *Action) (err error) {
		if a.RetryFor = retryOff; l.text(0) != "off" {
			a.RetryFor, err = l.duration(0)
		}
		return err
	}},
	{name: "retry_interval", usage: "FIRST CAP", wants: "the first pause and the longest", least: 2, most: 2, read: readRetryInterval},
	{name: "concurrency", usage: "N", wants: "a number", least: 1, most: 1, read: func(l *line, a *Action) (err error) {
		a.Concurrency, err = l.count(0, "attempts")
		return err
	}},
}}

// retryOff is the RetryFor of an action that is attempted once.
const retryOff = -1

// request is the setting of a method with its URL. An action has one.
func request(method string) setting[Action] {
	return setting[Action]{name: method, usage: `"URL"`, wants: "one URL", least: 1, most: 1, excludes: "request", read: func(l *line, a *Action) (err error) {
		a.Method = strings.ToUpper(method)
		a.URL, err = l.template(0, "URL")
		return err
	}}
}

func readAction(l *line, app *App) error {
	action := Action{Name: l.text(0), Place: l.place()}
	if err := checkName("action", action.Name); err != nil {
		return l.errf("%w", err)
	}
	if err := l.unique("action", action.Name); err != nil {
		return err
	}
	if err := actionLevel.read(l.d, &action); err != nil {
		return err
	}
	if action.Method == "" {
		return l.errf("action %s has no request: add get, post, put, patch or delete with a URL", action.Name)
	}
	app.Actions = append(app.Actions, action)
	return nil
}

func readNameValue(l *line, list *[]NameValue) error {
	name, err := l.template(0, "name")
	if err != nil {
		return err
	}
	if err := checkTemplate(l.text(1)); err != nil {
		return l.errf("%w", err)
	}
	*list = append(*list, NameValue{Name: name, Value: l.text(1)})
	return nil
}

// bodyKinds holds the kinds of `body`.
var bodyKinds = level[Action]{name: "body", settings: []setting[Action]{
	{name: "none", least: 0, most: 0, read: func(*line, *Action) error { return nil }},
	{name: "json", usage: "`TEXT`", wants: "one text, in backticks or as a heredoc", least: 1, most: 1, read: func(l *line, a *Action) (err error) {
		a.Body = &Body{Kind: "json"}
		a.Body.Text, err = l.template(0, "JSON text")
		return err
	}},
	{name: "raw", usage: "[TYPE] `TEXT`", wants: "one text, in backticks or as a heredoc, perhaps after its type", least: 1, most: 2, read: func(l *line, a *Action) error {
		text := len(l.args) - 1
		a.Body = &Body{Kind: "raw", Text: l.text(text)}
		if text == 1 {
			a.Body.Type = l.text(0)
			if !strings.Contains(a.Body.Type, "/") {
				return l.errf("%q is not a type of body: body raw [TYPE] `TEXT`, with a type such as text/plain", a.Body.Type)
			}
		}
		if err := checkTemplate(a.Body.Text); err != nil {
			return l.errf("%w", err)
		}
		return nil
	}},
}}

var statusPattern = regexp.MustCompile(`^[2-5](xx|[0-9][0-9])$`)

func readSuccess(l *line, action *Action) error {
	for _, arg := range l.args {
		if !statusPattern.MatchString(arg.Text) {
			return errAt(arg, "%q is not a status: write a number such as 409, or a class such as 2xx", arg.Text)
		}
		action.Success = append(action.Success, arg.Text)
	}
	return nil
}

func readRetryInterval(l *line, action *Action) error {
	first, err := l.duration(0)
	if err != nil {
		return err
	}
	longest, err := l.duration(1)
	if err != nil {
		return err
	}
	if first > longest {
		return l.errf("the first pause, %s, is longer than the longest, %s", l.text(0), l.text(1))
	}
	action.RetryInterval = &RetryInterval{First: first, Cap: longest}
	return nil
}
