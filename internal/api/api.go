// Package api is the JSON API of the relay. Caddy's admin endpoint serves it to
// the commands, and the console to its page. It reads requests and writes
// answers; what is done is done in the relay.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// Running is the relay that is in service, as a request finds it.
type Running struct {
	Runtime *relay.Runtime

	// Ending is closed when the configuration that took the request is replaced
	// or stopped. Live views end then: the server waits for its requests, and
	// those would go on for ever. Nil means never.
	Ending <-chan struct{}

	// ReadCaddyfile reads text of a Caddyfile that stands in no file, for rehearsals: an
	// event_relay block, which is a whole configuration, or a part of one. Places in
	// it are NAME:LINE. It must read nothing but the text.
	ReadCaddyfile func(text, name string) (settings config.Relay, whole bool, err error)

	// Exit is done when the process is about to exit. All calls end then, also
	// those that would go on over a reload: the server waits for them, and who
	// waits too long to exit is killed. Nil means never.
	Exit context.Context
}

// Find finds the relay. It is called for each request, because relays come and
// go with configurations.
type Find func() (Running, error)

// API is the JSON API of the relay, wherever it is mounted. It is safe for
// concurrent use.
type API struct {
	find Find
	// admin adds the routes that only Caddy's admin API has.
	admin bool

	// views holds a token for each live view.
	views     chan struct{}
	keepAlive time.Duration
}

// maxViews bounds how many live views there can be at once: each holds a
// connection and a goroutine for as long as it is open.
const maxViews = 64

// NewAPI returns the API for the console page.
func NewAPI(find Find) *API {
	return &API{find: find, views: make(chan struct{}, maxViews), keepAlive: 15 * time.Second}
}

// NewAdminAPI returns the API for Caddy's admin endpoint, which can also merge a
// backup: that reads a file of any size, which is no business of a page.
func NewAdminAPI(find Find) *API {
	api := NewAPI(find)
	api.admin = true
	return api
}

// route is one call of the API.
type route struct {
	method string
	// path may hold {}, which stands for one segment, the name of the call.
	path string
	// keys are the keys that the query may have.
	keys  []string
	admin bool
	serve func(*call) error
}

// call is a request to a route.
type call struct {
	*Running
	api  *API
	w    http.ResponseWriter
	r    *http.Request
	name string
	// began is when the request came.
	began time.Time
}

// now is when the request came, in the zone of the relay: days and times of day are
// meant in it.
func (c *call) now() time.Time {
	if generation := c.Runtime.Generation(); generation != nil {
		return c.began.In(generation.Configuration.Zone)
	}
	return c.began
}

var routes = []route{
	{method: http.MethodGet, path: "status", serve: answering(status)},
	{method: http.MethodGet, path: "timezone", serve: answering(timezone)},
	{method: http.MethodGet, path: "activity", keys: slices.Concat(FilterFields, []string{"after", "n"}), serve: answering(activity)},
	{method: http.MethodGet, path: "live", keys: FilterFields, serve: live},
	{method: http.MethodGet, path: "events/{}", serve: answering(event)},
	{method: http.MethodGet, path: "events/{}/http", serve: eventAsFile},
	{method: http.MethodGet, path: "stored/{}", serve: answering(stored)},
	{method: http.MethodGet, path: "explain/{}", keys: []string{"at", "by"}, serve: answering(explain)},
	{method: http.MethodGet, path: "backlog", serve: answering(backlog)},
	{method: http.MethodGet, path: "rejections", serve: answering(rejections)},
	{method: http.MethodGet, path: "catalogue", serve: answering(catalogue)},
	{method: http.MethodGet, path: "fields", keys: []string{"source", "event"}, serve: answering(fields)},
	{method: http.MethodGet, path: "rules", serve: answering(listRules)},
	{method: http.MethodGet, path: "actions", serve: answering(actions)},
	{method: http.MethodGet, path: "actions/{}/example", serve: answering(example)},
	{method: http.MethodGet, path: "actions/{}/caddyfile", serve: answering(written)},
	{method: http.MethodGet, path: "parameters", serve: answering(parameters)},
	{method: http.MethodGet, path: "series", keys: []string{"since", "until", "n"}, serve: answering(series)},
	{method: http.MethodGet, path: "snapshots", serve: answering(snapshots)},
	{method: http.MethodGet, path: "snapshots/{}", serve: answering(snapshot)},
	{method: http.MethodGet, path: "check", serve: answering(check)},
	{method: http.MethodGet, path: "backup", serve: backup},
	{method: http.MethodPost, path: "merge", admin: true, serve: merge},
	{method: http.MethodPost, path: "switch", serve: answering(turn)},
	{method: http.MethodPost, path: "cancel", serve: answering(cancel)},
	{method: http.MethodPost, path: "move", serve: answering(move)},
	{method: http.MethodPost, path: "try", serve: answering(try)},
	{method: http.MethodPost, path: "send", serve: answering(send)},
	{method: http.MethodPost, path: "resend", serve: resend},
	{method: http.MethodPost, path: "decide", serve: decide},
	{method: http.MethodGet, path: "rehearse", serve: answering(rehearsalText)},
	{method: http.MethodPost, path: "rehearse/check", serve: answering(rehearsalCheck)},
	{method: http.MethodPost, path: "rehearse", serve: rehearse},
	{method: http.MethodPost, path: "import-postman", serve: answering(importPostman)},
}

// Serve answers a request for a path below the mount, such as events/0199f3c2.
// If it returns an error, which is an *Error, nothing has been answered yet.
func (a *API) Serve(w http.ResponseWriter, r *http.Request, path string) error {
	found, name, err := a.route(w, r.Method, path)
	if err != nil {
		return err
	}
	query, err := parseQuery(r.URL.RawQuery)
	if err != nil {
		return err
	}
	for key := range query {
		if err := checkKey(key, found.keys); err != nil {
			return err
		}
		if len(query[key]) > 1 {
			return wrong(key, "reading the query: %s is given more than once", key)
		}
	}
	running, err := a.find()
	if err != nil {
		return &Error{Status: http.StatusServiceUnavailable, Err: fmt.Errorf("finding the relay: %w", err)}
	}
	if running.Exit != nil {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(running.Exit, cancel)()
		r = r.WithContext(ctx)
	}
	c := &call{Running: &running, api: a, w: w, r: r, name: name, began: time.Now()}
	w.Header().Set(TimezoneHeader, c.now().Location().String())
	if err := found.serve(c); err != nil {
		return c.failed(err)
	}
	return nil
}

// ServeHTTP answers a request whose path is below the mount, and its errors too.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := a.Serve(w, r, strings.TrimPrefix(r.URL.Path, "/")); err != nil {
		WriteError(w, err)
	}
}

func (a *API) route(w http.ResponseWriter, method, path string) (route, string, error) {
	var methods []string
	for _, candidate := range routes {
		name, matches := match(path, candidate.path)
		switch {
		case !matches || candidate.admin && !a.admin:
		case candidate.method == method:
			return candidate, name, nil
		default:
			methods = append(methods, candidate.method)
		}
	}
	if len(methods) == 0 {
		return route{}, "", &Error{Status: http.StatusNotFound, Err: fmt.Errorf("finding %q: there is no such resource of the relay", path)}
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	return route{}, "", &Error{
		Status: http.StatusMethodNotAllowed,
		Err:    fmt.Errorf("asking for %s with %s: use %s", path, method, strings.Join(methods, " or ")),
	}
}

// match compares a path with the pattern of a route, and returns what stands
// there for its {}.
func match(path, pattern string) (name string, matches bool) {
	segments, wanted := strings.Split(path, "/"), strings.Split(pattern, "/")
	if len(segments) != len(wanted) {
		return "", false
	}
	for i, segment := range segments {
		switch {
		case wanted[i] == "{}" && segment != "":
			name = segment
		case wanted[i] != segment:
			return "", false
		}
	}
	return name, true
}

func checkKey(key string, known []string) error {
	if slices.Contains(known, key) {
		return nil
	}
	if len(known) == 0 {
		return wrong(key, "reading the query: %q is not known; this resource takes none", key)
	}
	if nearest := names.Nearest(key, known); nearest != "" {
		return wrong(key, "reading the query: %q is not known%s", key, names.DidYouMean(nearest))
	}
	return wrong(key, "reading the query: %q is not known; there are %s", key, strings.Join(known, ", "))
}

// answering makes a route of a call that returns what to answer.
func answering(what func(*call) (any, error)) func(*call) error {
	return func(c *call) error {
		value, err := what(c)
		if err != nil {
			return err
		}
		// Encoded as a whole first: what cannot be encoded is still an error.
		var answer bytes.Buffer
		if err := json.NewEncoder(&answer).Encode(value); err != nil {
			return fmt.Errorf("encoding the answer: %w", err)
		}
		header(c.w, "application/json")
		_, _ = c.w.Write(answer.Bytes()) // a client that hung up reads no error either
		return nil
	}
}

// header sets what all answers have in common. Nothing of the API is to be kept
// by a cache: it is about now, and shows what events brought.
func header(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

// list keeps an empty list from becoming null, which callers would have to
// treat as another case.
func list[T any](of []T) []T {
	if of == nil {
		return []T{}
	}
	return of
}

// failed finds the status for an error of the call.
func (c *call) failed(err error) *Error {
	// Not the context of the call: it may hear of the exit later than the call ends.
	if c.Exit != nil && c.Exit.Err() != nil {
		return &Error{Status: http.StatusServiceUnavailable, Err: errExit}
	}
	return AsError(err)
}

var errExit = errors.New("the server is exiting; what was done until then stays done")

// ErrNoRelay is for a Find that finds nothing.
var ErrNoRelay = errors.New("no event_relay is running in this Caddy")
