package receive_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
)

// publisherBody is what the PBX's Event Publisher posts, with white space that
// brings it to the size of the one capture there is.
const publisherBody = `{ "call_started_datetime": "2026-03-13 11:41:57", "call_started_timestamp": 1773398517, "call_type": "1on1Call", ` +
	`"connected_name": "", "connected_num": "*123", "duration": 1, "event": "event_call_finished", "event_time_info": { "date": "2026-03-13", ` +
	`"time": "11:41:58", "timestamp": 1773398518 }, "is_answered_elsewhere": false, "is_incoming": false, "is_pbx_inbound_call": false, ` +
	`"is_pbx_user": true, "linked_id": "1773398517.113", "number": "100", "record_status": "NotRecording", "state": "Connected", ` +
	`"tenant_code": "200", "uid": "1773398517.113", "padding": "xxxxxxxxxxxxx" }`

func BenchmarkReceive(b *testing.B) {
	r := newRelay(b, receive.Options{Now: time.Now}, senders()[:2]...)
	for name, prepare := range map[string]func() *http.Request{
		"query-key": func() *http.Request { return httptest.NewRequest(http.MethodPost, "/listen.php?api_key=pbx-key", nil) },
		"bearer": func() *http.Request {
			request := httptest.NewRequest(http.MethodPost, "/listen.php", nil)
			request.Header.Set("Authorization", "Bearer pbx-token")
			return request
		},
	} {
		b.Run(name, func(b *testing.B) {
			request := prepare()
			request.Header.Set("Content-Type", "application/json")
			request.Header.Set("User-Agent", "Go-http-client/1.1")
			request.Header.Set("Accept-Encoding", "gzip")
			request.ContentLength = int64(len(publisherBody))
			body := bytes.NewReader([]byte(publisherBody))
			request.Body = io.NopCloser(body)
			b.ReportAllocs()
			b.SetBytes(int64(len(publisherBody)))
			for b.Loop() {
				body.Seek(0, io.SeekStart) //nolint:errcheck // cannot fail
				received, err := r.Receive(request, origin)
				if err != nil || len(received.Events) != 1 {
					b.Fatal(received, err)
				}
			}
		})
	}
}
