package main_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lanService is a service on the LAN that remembers which ids it was sent and
// how often.
type lanService struct {
	*httptest.Server
	mutex sync.Mutex
	times map[int]int
}

func newLANService(t *testing.T) *lanService {
	t.Helper()
	s := &lanService{times: make(map[int]int)}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := strconv.Atoi(r.URL.Query().Get("id"))
		if err != nil {
			http.Error(w, "no id", http.StatusBadRequest)
			return
		}
		_, _ = io.Copy(io.Discard, r.Body)
		s.mutex.Lock()
		s.times[id]++
		s.mutex.Unlock()
	}))
	t.Cleanup(s.Close)
	return s
}

// missing returns how many of the ids have not arrived.
func (s *lanService) missing(ids []int) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	missing := 0
	for _, id := range ids {
		if s.times[id] == 0 {
			missing++
		}
	}
	return missing
}

// repeated returns the ids that arrived more than once.
func (s *lanService) repeated() []int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var repeated []int
	for id, times := range s.times {
		if times > 1 {
			repeated = append(repeated, id)
		}
	}
	return repeated
}

// load posts numbered events from several connections until it is stopped.
type load struct {
	next  atomic.Int64
	acked atomic.Int64
	stop  chan struct{}
	done  sync.WaitGroup

	mutex   sync.Mutex
	ids     []int
	refused []string
	// cut counts the connections that were closed without an answer.
	cut int
}

// newSender returns a client that makes a connection for each request: an idle
// one that the server closes at the moment a request is written on it would
// look like a refusal.
func newSender() *http.Client {
	return &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext},
	}
}

// startLoad posts to a URL; every event has an id of its own, and status
// Approved.
func startLoad(url string, posters, firstID int) *load {
	l := &load{stop: make(chan struct{})}
	l.next.Store(int64(firstID))
	client := newSender()
	for range posters {
		l.done.Go(func() {
			for {
				select {
				case <-l.stop:
					return
				default:
					l.post(client, url, int(l.next.Add(1)))
				}
			}
		})
	}
	return l
}

// post sends an event until it is answered. Go's HTTP server closes a connection
// whose request it has read at the moment of a shutdown, which a reload of
// Caddy is for the old server, before any handler sees it. A sender can only
// send again; the id shows if the first was stored all the same.
func (l *load) post(client *http.Client, url string, id int) {
	body := fmt.Sprintf(`{"event":"project_status_change","id":"%d","status":"Approved"}`, id)
	for {
		response, err := client.Post(url, "application/json", strings.NewReader(body))
		if err != nil {
			l.mutex.Lock()
			l.cut++
			l.mutex.Unlock()
			select {
			case <-l.stop:
				return
			default:
				continue
			}
		}
		answer, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil || response.StatusCode != http.StatusOK {
			l.refuse(fmt.Sprintf("%d %s %v", response.StatusCode, answer, err))
			return
		}
		l.mutex.Lock()
		l.ids = append(l.ids, id)
		l.mutex.Unlock()
		l.acked.Add(1)
		return
	}
}

func (l *load) refuse(why string) {
	l.mutex.Lock()
	l.refused = append(l.refused, why)
	l.mutex.Unlock()
}

// end stops the posters and returns the ids that were answered 200 and what
// else was answered.
func (l *load) end() (acked []int, refused []string) {
	close(l.stop)
	l.done.Wait()
	return l.ids, l.refused
}
