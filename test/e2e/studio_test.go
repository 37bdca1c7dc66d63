package e2e_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// studio is a post-production house with a relay between its systems: what a
// real one has, with invented names and numbers kept for fiction.
type studio struct {
	t       *testing.T
	machine *installation
	caddy   *server

	// console is the address of the page, without a slash at its end.
	console string

	folders, crm, calendar *studioService
	// archive is the address of a service that is down.
	archive string
}

const (
	icfmKey     = "icfm-key-of-the-studio"
	pbxToken    = "pbx-token-of-the-studio"
	crmToken    = "crm-token-of-the-studio"
	consolePath = "/relay"
)

// newStudio prepares a studio; open starts its relay.
func newStudio(t *testing.T) *studio {
	t.Helper()
	s := &studio{
		t: t, machine: newInstallation(t),
		folders: newStudioService(t, "127.0.0.20:8080"), crm: newStudioService(t, "127.0.0.30:8080"), calendar: newStudioService(t, "127.0.0.40:8080"),
		archive: freeAddress(t),
	}
	if picturesDirectory() != "" {
		s.archive = "127.0.0.50:8080"
	}
	s.console = "http://" + freeAddress(t) + consolePath
	return s
}

// openStudio starts a studio's relay.
func openStudio(t *testing.T) *studio {
	t.Helper()
	s := newStudio(t)
	s.open()
	return s
}

func (s *studio) open() {
	s.t.Helper()
	if err := os.WriteFile(s.queueDirectory()+".crm-token", []byte(crmToken), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.caddy = s.machine.start(s.caddyfile())
}

// queueDirectory is where the relay keeps its events.
func (s *studio) queueDirectory() string { return filepath.Join(s.machine.home, "queue") }

func (s *studio) caddyfile() string {
	// The site takes any host, so that what the console says to a foreign one is
	// heard and not what Caddy says.
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(strings.TrimSuffix(s.console, consolePath), "http://"))
	return strings.NewReplacer(
		"GLOBALS", s.machine.globals(), "QUEUE", s.queueDirectory(), "SITE", s.machine.site, "PORT", port, "MOUNT", consolePath,
		"FOLDERS", s.folders.URL, "CRM", s.crm.URL, "CALENDAR", s.calendar.URL, "ARCHIVE", "http://"+s.archive,
		"ICFM_KEY", icfmKey, "PBX_TOKEN", pbxToken,
	).Replace(studioCaddyfile)
}

// reload loads the studio's Caddyfile with one text of it replaced.
func (s *studio) reload(old, text string) {
	s.t.Helper()
	caddyfile := s.caddyfile()
	if !strings.Contains(caddyfile, old) {
		s.t.Fatalf("the Caddyfile has no %q", old)
	}
	if status, answer := s.caddy.load(strings.Replace(caddyfile, old, text, 1)); status != http.StatusOK {
		s.t.Fatalf("reloading: %d %s", status, answer)
	}
}

const studioCaddyfile = `{
	GLOBALS
	event_relay {
		queue sqlite "QUEUE"
		retention 30d 2GiB

		source icfm {
			auth api_key query key ICFM_KEY
			timezone Europe/London
			dedupe 1h "body.id"
			quiet 24h
			field project_id "body.project.id"
			field project_name "body.project.name"
			field project_status "body.project.status"
		}
		source pbx pbxware {
			auth bearer PBX_TOKEN
			timezone Europe/London
		}

		parameter san FOLDERS
		parameter calendar CALENDAR
		parameter archive ARCHIVE
		parameter crm CRM
		parameter crm_token {file.QUEUE.crm-token}
		parameter crm_desk {
			default reception
			tenant 201 drama
			tenant 202 commercials
		}

		action create_project_folder {
			description "Make the project's folder tree on the SAN"
			post "{{san}}/folders"
			header X-Project "{{project_id}}"
			body json <<JSON
				{
					"project": {{project_id}},
					"name": "{{project_name}}",
					"status": "{{project_status}}"
				}
				JSON
			retry_for 24h
			retry_interval 1s 5m
			concurrency 4
		}
		action screen_pop {
			description "Open the caller's card at the desk"
			get "{{crm}}/pop"
			query number "{{caller_id}}"
			query name "{{calling_name}}"
			query desk "{{crm_desk}}"
			auth bearer "{{crm_token}}"
			timeout 3s
			retry_for 10s
			expires 2m
		}
		action missed_call_ticket {
			description "Ask the desk to call back"
			post "{{crm}}/tickets"
			auth bearer "{{crm_token}}"
			body urlencoded {
				number "{{caller_id}}"
				desk "{{crm_desk}}"
				note "{{calling_name}} called in vain at {{time}}"
			}
			retry_interval 100ms 500ms
		}
		action book_room {
			description "Put a booking into the rooms' calendar"
			put "{{calendar}}/bookings/{{body.booking.id}}"
			body json "{{body.booking}}"
			timeout 5s
			order_by "body.booking.room"
		}
		action archive_item {
			description "Tell the tape archive of a new library item"
			post "{{archive}}/items"
			body forward
			retry_interval 1s 30s
		}
		action tell_supervisor {
			description "Say in the supervisors' channel what is wrong"
			post "{{crm}}/messages"
			body json <<JSON
				{"channel": "supervisors", "event": "{{event}}", "about": {{body}}}
				JSON
		}

		on project_created project_status_change {
			description "Approved projects get a folder tree"
			when "project_status in ['Approved', 'Confirmed']"
			do create_project_folder
		}
		on incoming_call {
			when "caller_id != 'anonymous'"
			do screen_pop
		}
		on unanswered_call {
			when "direction == 'inbound'"
			do missed_call_ticket
		}
		on rs_added rs_modified {
			do book_room
		}
		on library_item_created {
			do archive_item
		}
		on job_completed {
			description "Long jobs are looked at by a supervisor"
			when "body.job.hours > 10"
			do tell_supervisor
		}
		on dmg_* {
			ignore "media tasks are not automated"
		}
		on relay:target_down relay:target_up {
			do tell_supervisor
		}
	}
}

http://SITE {
	event_relay /listen.php
	respond 404
}

http://:PORT {
	bind 127.0.0.1
	event_relay_console MOUNT
	respond 404
}
`

// post posts what a sender posts, and returns the answer's status.
func (s *studio) post(path, contentType, token, body string) int {
	s.t.Helper()
	request, err := http.NewRequest(http.MethodPost, "http://"+s.machine.site+"/listen.php"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("User-Agent", "studio-sender/1.4")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := newSender().Do(request)
	if err != nil {
		s.t.Fatalf("posting: %v\n%s", err, s.caddy.Output)
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

// icfm posts an event of iCFM, which must be stored.
func (s *studio) icfm(event, body string) {
	s.t.Helper()
	if status := s.post("?key="+icfmKey+"&event="+event, "application/json", "", body); status != http.StatusOK {
		s.t.Fatalf("posting %s: %d", event, status)
	}
}

// pbx posts an event of the PBX, which must be stored.
func (s *studio) pbx(event, body string) {
	s.t.Helper()
	if status := s.post("/"+event, "application/json", pbxToken, body); status != http.StatusOK {
		s.t.Fatalf("posting %s: %d", event, status)
	}
}

// project is an event about a project as iCFM may write it.
func project(id int, name, status string) string {
	return fmt.Sprintf(`{"id":"%s-%d","project":{"id":%d,"name":%q,"status":%q,"producer":"N. Ashdown"},"changed_by":"bookings"}`,
		strings.ToLower(status), id, id, name, status)
}

// phoneCall is an event of a call as an administrator of the PBX writes it.
func phoneCall(id, number, name, tenant string) string {
	return fmt.Sprintf(`{"call_id":%q,"caller_id":%q,"calling_name":%q,"called_number":"020 7946 0200","extension":"200","direction":"inbound","tenant":%q}`,
		id, number, name, tenant)
}

// studioService is a service on the LAN.
type studioService struct {
	*httptest.Server
	mutex    sync.Mutex
	received []received
	answer   func(n int, r received) (status int, body string)
}

type received struct {
	method, path, body string
	header             http.Header
}

// newStudioService starts a service. When pictures are made it listens on an address
// that looks like one of a LAN.
func newStudioService(t *testing.T, pictured string) *studioService {
	t.Helper()
	s := new(studioService)
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	if picturesDirectory() != "" {
		// Another test may have it.
		if listener, err := net.Listen("tcp", pictured); err == nil {
			s.Listener.Close()
			s.Listener = listener
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func (s *studioService) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	request := received{method: r.Method, path: r.URL.RequestURI(), body: string(body), header: r.Header}
	s.mutex.Lock()
	s.received = append(s.received, request)
	n, answer := len(s.received), s.answer
	s.mutex.Unlock()
	status, text := http.StatusOK, `{"done": true}`
	if answer != nil {
		status, text = answer(n, request)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// answers says what the service answers from now on: n counts its requests from 1.
func (s *studioService) answers(answer func(n int, r received) (int, string)) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.answer = answer
}

// requests returns what it has received of a path so far.
func (s *studioService) requests(path string) []received {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var found []received
	for _, request := range s.received {
		if strings.HasPrefix(request.path, path) {
			found = append(found, request)
		}
	}
	return found
}

// awaits waits until it has received a number of requests of a path.
func (s *studioService) awaits(t *testing.T, path string, n int) []received {
	t.Helper()
	waitFor(t, fmt.Sprintf("%d requests of %s", n, path), func() bool { return len(s.requests(path)) >= n })
	return s.requests(path)
}

// picturesDirectory is where TestBrowserLooks writes pictures of the page to, if
// anywhere: EVENT_RELAY_SCREENSHOTS. docs/screenshots tells how those of the
// README are made.
func picturesDirectory() string { return os.Getenv("EVENT_RELAY_SCREENSHOTS") }
