package e2e_test

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
}

// newSender returns a client that makes a connection for each request, as most
// senders do, and never repeats one.
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

// post sends an event once: most senders never repeat one.
func (l *load) post(client *http.Client, url string, id int) {
	body := fmt.Sprintf(`{"event":"project_status_change","id":"%d","status":"Approved"}`, id)
	response, err := client.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		l.refuse(err.Error())
		return
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
