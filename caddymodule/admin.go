package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/rules"
)

func init() { caddy.RegisterModule(adminAPI{}) }

// adminAPI is the relay's part of Caddy's admin API. It looks the relay up for
// each request: Caddy provisions the admin API before the apps, and keeps it
// over a reload that failed.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.event_relay",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes returns the routes of the admin API:
//
//	GET /event_relay/activity    events, newest first; query: since until source
//	                             event verdict action state after n
//	GET /event_relay/events/{id} one event with its deliveries and attempts
//	GET /event_relay/explain/{id} what the running configuration does about a
//	                             stored event, and why; a dry run
//	GET /event_relay/stored/{id} one event as it is stored, for explain by another
//	                             configuration
//	GET /event_relay/backlog     what waits for each action
//	GET /event_relay/rejections  who was turned away and why, and when each
//	                             credential was last used
func (adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: "/event_relay/activity", Handler: answering(activityPage)},
		{Pattern: "/event_relay/events/", Handler: answering(eventDetail)},
		{Pattern: "/event_relay/explain/", Handler: answering(eventExplanation)},
		{Pattern: "/event_relay/stored/", Handler: answering(storedEvent)},
		{Pattern: "/event_relay/backlog", Handler: answering(backlog)},
		{Pattern: "/event_relay/rejections", Handler: answering(rejected)},
	}
}

// answering adapts a reading call of the relay to the admin API.
func answering(call func(*relay.Runtime, *http.Request) (any, error)) caddy.AdminHandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet {
			w.Header().Set("Allow", http.MethodGet)
			return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("reading %s: use GET", r.URL.Path)}
		}
		app := newestApp()
		if app == nil {
			return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable,
				Err: errors.New("finding the relay: no event_relay is running in this Caddy")}
		}
		result, err := call(app.runtime, r)
		if err != nil {
			return apiError(err)
		}
		w.Header().Set("Content-Type", "application/json")
		return json.NewEncoder(w).Encode(result)
	}
}

func apiError(err error) error {
	status := http.StatusInternalServerError
	var wrong *wrongFilter
	switch {
	case errors.As(err, &wrong):
		status = http.StatusBadRequest
	case errors.Is(err, queue.ErrNotFound):
		status = http.StatusNotFound
	}
	return caddy.APIError{HTTPStatus: status, Err: err}
}

// mostPerPage bounds what one answer of the activity holds in memory.
const mostPerPage = 1000

func activityPage(runtime *relay.Runtime, r *http.Request) (any, error) {
	query := r.URL.Query()
	filter, err := parseFilter(query)
	if err != nil {
		return nil, err
	}
	count := 50
	if text := query.Get("n"); text != "" {
		count, err = strconv.Atoi(text)
		if err != nil || count < 1 || count > mostPerPage {
			return nil, &wrongFilter{"n", text, fmt.Sprintf("a number from 1 to %d", mostPerPage)}
		}
	}
	page, err := runtime.Activity(r.Context(), filter, queue.Cursor(query.Get("after")), count)
	if err != nil {
		return nil, err
	}
	if page.Events == nil {
		page.Events = []queue.Summary{}
	}
	return activityAnswer{Events: page.Events, Next: string(page.Next)}, nil
}

// activityAnswer is a page of events as the admin API gives it.
type activityAnswer struct {
	Events []queue.Summary `json:"events"`
	// Next is the value of after for the following page, absent at the end.
	Next string `json:"next,omitempty"`
}

func eventDetail(runtime *relay.Runtime, r *http.Request) (any, error) {
	return runtime.Show(r.Context(), strings.TrimPrefix(r.URL.Path, "/event_relay/events/"))
}

func backlog(runtime *relay.Runtime, r *http.Request) (any, error) {
	waiting, err := runtime.Backlog(r.Context())
	if waiting == nil {
		waiting = []queue.Backlog{}
	}
	return waiting, err
}

func rejected(runtime *relay.Runtime, _ *http.Request) (any, error) {
	return rejectionsAnswer{Rejections: runtime.Rejections(), Credentials: runtime.Credentials()}, nil
}

// rejectionsAnswer is who was turned away as the admin API tells it.
type rejectionsAnswer struct {
	Rejections  []relay.Rejection `json:"rejections"`
	Credentials []receive.Use     `json:"credentials"`
}

// wrongFilter says which part of a query cannot be understood.
type wrongFilter struct{ field, value, want string }

func (e *wrongFilter) Error() string {
	return fmt.Sprintf("reading filter %s: %q is not %s", e.field, e.value, e.want)
}

// filterFields are the query keys that narrow the activity, as the commands'
// flags are called.
var filterFields = []string{"since", "until", "source", "event", "verdict", "action", "state"}

func parseFilter(query url.Values) (queue.Filter, error) {
	known := append([]string{"after", "n"}, filterFields...)
	for key := range query {
		if !slices.Contains(known, key) {
			return queue.Filter{}, &wrongFilter{key, query.Get(key), "a known filter; there are " + strings.Join(known, ", ")}
		}
	}
	filter := queue.Filter{
		Source: query.Get("source"), Event: query.Get("event"), Action: query.Get("action"),
		Decision: rules.Decision(query.Get("verdict")), State: queue.State(query.Get("state")),
	}
	if err := oneOf("verdict", filter.Decision, rules.Act, rules.Ignored, rules.RuleError, rules.Disabled); err != nil {
		return filter, err
	}
	if err := oneOf("state", filter.State, queue.Pending, queue.Delivered, queue.Failed, queue.Expired, queue.Cancelled); err != nil {
		return filter, err
	}
	var err error
	if filter.Since, err = parseMoment("since", query.Get("since")); err != nil {
		return filter, err
	}
	filter.Until, err = parseMoment("until", query.Get("until"))
	return filter, err
}

func oneOf[T ~string](field string, value T, allowed ...T) error {
	names := make([]string, len(allowed))
	for i, a := range allowed {
		if value == a {
			return nil
		}
		names[i] = string(a)
	}
	if value == "" {
		return nil
	}
	return &wrongFilter{field, string(value), "one of " + strings.Join(names, ", ")}
}

// parseMoment reads a time in RFC 3339, or a duration that counts back from
// now, such as 2h or 3d.
func parseMoment(field, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if moment, err := time.Parse(time.RFC3339, text); err == nil {
		return moment, nil
	}
	if ago, err := caddy.ParseDuration(text); err == nil && ago >= 0 {
		return time.Now().Add(-ago), nil
	}
	return time.Time{}, &wrongFilter{field, text, "a time such as 2026-03-13T11:41:57Z or an age such as 2h or 3d"}
}

// Interface guards
var _ caddy.AdminRouter = (*adminAPI)(nil)
