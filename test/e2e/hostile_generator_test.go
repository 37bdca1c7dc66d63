package e2e_test

import (
	"bytes"
	"compress/gzip"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"
)

// hostileSeed makes every run post the same requests.
const hostileSeed = 20260313

// hostileRequest is what goes over the wire.
type hostileRequest struct {
	text []byte
	// method is that of the request, as far as it has one.
	method string
	// framed says that the server can tell where the request ends, so that
	// another may follow on the connection.
	framed bool
	// leave says that the client goes away without waiting for an answer.
	leave bool
}

// hostility makes requests that no honest sender would make, and some that one
// would: number i is always the same but for signed times.
type hostility struct {
	*rand.Rand
	fixtures [][]byte
	webhook  []byte // the key of the source shop
}

func newHostility(fixtures [][]byte, webhook []byte, i int) hostility {
	return hostility{rand.New(rand.NewPCG(hostileSeed, uint64(i))), fixtures, webhook}
}

// one reports true once in n times.
func (h hostility) one(n int) bool { return h.IntN(n) == 0 }

func pick[T any](h hostility, from ...T) T { return from[h.IntN(len(from))] }

func (h hostility) request() hostileRequest {
	switch n := h.IntN(100); {
	case n < 30:
		return h.mutateBody()
	case n < 37:
		return h.mutateAll()
	case n < 40:
		return hostileRequest{text: h.brokenFraming()}
	}
	return h.compose()
}

// mutate changes some bytes.
func (h hostility) mutate(text []byte) []byte {
	text = bytes.Clone(text)
	for range 1 + h.IntN(6) {
		if len(text) == 0 {
			return []byte(h.word())
		}
		at := h.IntN(len(text))
		end := min(len(text), at+1+h.IntN(12))
		switch h.IntN(7) {
		case 0:
			text[at] = byte(h.Uint32())
		case 1:
			text[at] ^= 1 << h.IntN(8)
		case 2:
			text = append(text[:at:at], text[end:]...)
		case 3:
			text = append(text[:end:end], text[at:]...)
		case 4:
			text = append(text[:at:at], append([]byte(h.word()), text[at:]...)...)
		case 5:
			text = append(text[:at:at], append(bytes.Repeat(text[at:end], 1+h.IntN(40)), text[end:]...)...)
		case 6:
			text = text[:at]
		}
	}
	return text
}

// mutateBody changes a sample's body and keeps its framing true.
func (h hostility) mutateBody() hostileRequest {
	head, body, _ := bytes.Cut(pick(h, h.fixtures...), []byte("\r\n\r\n"))
	var kept []string
	for i, line := range strings.Split(string(head), "\r\n") {
		name, _, _ := strings.Cut(strings.ToLower(line), ":")
		if i > 0 && (name == "content-length" || name == "transfer-encoding" || name == "expect") {
			continue
		}
		if i > 0 && h.one(12) {
			line += h.headerWord()
		}
		kept = append(kept, line)
	}
	body = h.mutate(body)
	method, _, _ := strings.Cut(kept[0], " ")
	return hostileRequest{
		text:   fmt.Appendf(nil, "%s\r\nContent-Length: %d\r\n\r\n%s", strings.Join(kept, "\r\n"), len(body), body),
		method: method, framed: true,
	}
}

// mutateAll changes a sample anywhere. The server may not be able to tell where it ends.
func (h hostility) mutateAll() hostileRequest {
	return hostileRequest{text: h.mutate(pick(h, h.fixtures...)), leave: h.one(4)}
}

// brokenFraming returns what is hardly a request.
func (h hostility) brokenFraming() []byte {
	const line, host = "POST /listen.php?key=icfm-key HTTP/1.1\r\n", "Host: a.example\r\n"
	body := `{"event":"job_saved"}`
	return []byte(pick(h,
		line+host+"Content-Length: 21\r\nContent-Length: 20\r\n\r\n"+body,
		line+host+"Content-Length: 21\r\nTransfer-Encoding: chunked\r\n\r\n"+body,
		line+host+"Content-Length: -1\r\n\r\n"+body,
		line+host+"Content-Length: 99999999999999999999\r\n\r\n"+body,
		line+host+"Content-Length: 1000000000000\r\n\r\n"+body,
		line+host+"Transfer-Encoding: chunked\r\n\r\nzz\r\n"+body,
		line+host+"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n"+body,
		line+host+"Transfer-Encoding: chunked\r\n\r\n15;"+strings.Repeat("x", 1+h.IntN(9000))+"\r\n"+body+"\r\n0\r\n\r\n",
		line+host+"Transfer-Encoding: chunked\r\n\r\n15\r\n"+body+"\r\n0\r\nX-Trailer: "+h.headerWord()+"\r\n\r\n",
		line+host+"Transfer-Encoding: gzip, chunked\r\n\r\n15\r\n"+body+"\r\n0\r\n\r\n",
		line+"Content-Length: 21\r\n\r\n"+body,
		line+host+host+"Content-Length: 21\r\n\r\n"+body,
		line+host+"X-\x00: 1\r\nContent-Length: 21\r\n\r\n"+body,
		line+host+"X: a\x00b\r\nContent-Length: 21\r\n\r\n"+body,
		line+host+" folded: 1\r\nContent-Length: 21\r\n\r\n"+body,
		line+host+"Expect: 200-maybe\r\nContent-Length: 21\r\n\r\n"+body,
		"POST http://b.example/listen.php?key=icfm-key HTTP/1.1\r\n"+host+"Content-Length: 21\r\n\r\n"+body,
		"POST /listen.php?key=icfm-key HTTP/1.0\r\nContent-Length: 21\r\n\r\n"+body,
		"POST /listen.php?key=icfm-key HTTP/9.9\r\n\r\n"+body,
		"GET /listen.php?key=icfm-key\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\n"+host+"\r\n",
		"CONNECT a.example:443 HTTP/1.1\r\n"+host+"\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"+strings.Repeat("\x00", 64),
		"\r\n\r\n\r\n"+line+host+"Content-Length: 21\r\n\r\n"+body,
		line+strings.Repeat("X-"+h.headerWord()+": 1\r\n", 1+h.IntN(2000))+host+"\r\n",
		strings.Repeat("\x00", 1+h.IntN(5000)),
	))
}

// compose makes a request of parts, each of which may be odd.
func (h hostility) compose() hostileRequest {
	method := pick(h, "POST", "POST", "POST", "POST", "POST", "POST", "PUT", "PATCH", "DELETE", "GET", "GET", "HEAD")
	if h.one(20) {
		method = pick(h, "OPTIONS", "TRACE", "post", "PROPFIND", "M-SEARCH", strings.Repeat("X", 1+h.IntN(60)), "PURGE")
	}
	body, contentType := h.body()
	path, query, headers := h.path(), h.query(), h.headers()
	if contentType != "" && !h.one(15) {
		headers = append(headers, "Content-Type: "+contentType)
	} else if h.one(2) {
		headers = append(headers, "Content-Type: "+pick(h, "application/json", "multipart/form-data", "multipart/form-data; boundary=",
			"text/xml; charset=utf-32", "application/x-www-form-urlencoded; charset=utf-7", "text/plain; charset=\""+h.headerWord(), ";;;", "a/b/c", "application/json; charset=utf-16"))
	}
	if h.one(12) {
		var encoding string
		body, encoding = h.encode(body)
		headers = append(headers, "Content-Encoding: "+encoding)
	}
	h.prove(&path, &query, &headers, &body)

	target := path
	if query != "" {
		target += "?" + query
	}
	text := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: events.studio.example\r\n", method, target)
	for _, header := range headers {
		text = append(append(text, header...), "\r\n"...)
	}
	request := hostileRequest{method: method, framed: true}
	switch {
	case h.one(30):
		// The body ends early, and so does the connection.
		text = fmt.Appendf(text, "Content-Length: %d\r\n\r\n", len(body)+1+h.IntN(5000))
		request.framed, request.leave = false, h.one(2)
		text = append(text, body...)
	case h.one(8):
		text = append(text, "Transfer-Encoding: chunked\r\n\r\n"...)
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 1+h.IntN(len(rest)))
			text = fmt.Appendf(text, "%x\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		text = append(text, "0\r\n\r\n"...)
	default:
		text = fmt.Appendf(text, "Content-Length: %d\r\n\r\n", len(body))
		text = append(text, body...)
	}
	request.text = text
	return request
}

// prove puts credentials into a request: right ones, wrong ones, or those of
// several sources.
func (h hostility) prove(path, query *string, headers *[]string, body *[]byte) {
	value := func(right string) string {
		if h.one(4) {
			return pick(h, right+"x", right[1:], strings.ToUpper(right), "", strings.Repeat(right, 1+h.IntN(300)), "pbx-token", "icfm-key")
		}
		return right
	}
	times := 1
	if h.one(10) {
		times = 1 + h.IntN(3)
	}
	for range times {
		switch h.IntN(11) {
		case 0, 1, 2:
			*query += "&key=" + value("icfm-key")
		case 3:
			*headers = append(*headers, "Authorization: Bearer "+value("pbx-token"))
		case 4:
			*headers = append(*headers, "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("pbx:"+value("pa:ss"))))
		case 5:
			*headers = append(*headers, "X-Api-Key: "+value("pbx-key"))
		case 6:
			*path += "/" + value("pbx-token")
		case 7, 8:
			// In the body, where it can be.
			for _, opening := range []string{"{", "event="} {
				if rest, found := strings.CutPrefix(string(*body), opening); found && opening == "{" {
					*body = []byte(`{"token":"` + value("aircall-token") + `",` + rest)
				} else if found {
					*body = []byte("token=" + value("aircall-token") + "&event=" + rest)
				}
			}
		case 9:
			moment := fmt.Sprint(time.Now().Add(time.Duration(h.IntN(9)-4) * time.Minute).Unix())
			mac := hmac.New(sha256.New, []byte(value("erp-secret")))
			mac.Write([]byte(moment + "."))
			mac.Write(*body)
			*headers = append(*headers, "X-Time: "+moment, "X-Signature: "+pick(h, "", "sha256=", ",,,")+hex.EncodeToString(mac.Sum(nil)))
		case 10:
			moment := fmt.Sprint(time.Now().Unix())
			mac := hmac.New(sha256.New, h.webhook)
			mac.Write([]byte("msg." + moment + "."))
			mac.Write(*body)
			*headers = append(*headers, "Webhook-Id: "+value("msg"), "Webhook-Timestamp: "+moment,
				"Webhook-Signature: v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		}
	}
}

func (h hostility) path() string {
	path := "/listen.php"
	for h.one(2) && len(path) < 3000 {
		path += "/" + pick(h, "job_saved", "incoming_call", "hangup", "Incoming%20Call", "%2e%2e", "..", "%00", "%zz", "%", "", ".", "%2F%2F", "a;b=c",
			url.PathEscape(h.word()), strings.Repeat("a", h.IntN(2000)), "{{event}}", "%7B%7Bcall_cost%7D%7D", "zo\xc3\xab", "\xff")
	}
	if h.one(40) {
		path = pick(h, "/listen.phpx", "/", "//listen.php", "/../listen.php", "/listen.php/../../etc/passwd", "*", "listen.php", "/%6cisten.php")
	}
	return path
}

func (h hostility) query() string {
	var query []string
	for h.one(2) && len(query) < 500 {
		query = append(query, pick(h, "event=job_saved", "event=hangup", "Event=Ringing", "caller_id=+44", "event[]=a", "=", "&", "%zz=%zz", "event=%00", ";a=1",
			"a="+strings.Repeat("%41", h.IntN(500)), url.QueryEscape(h.word())+"="+url.QueryEscape(h.word()), "type[event]=hangup", "unix_time=1e400", "tenant={{tenant}}"))
		if h.one(50) {
			query = append(query, strings.Repeat("a&", h.IntN(3000)))
		}
	}
	return strings.Join(query, "&")
}

func (h hostility) headers() []string {
	var headers []string
	for h.one(3) {
		headers = append(headers, pick(h, "X-Event: "+h.headerWord(), "X-Event: job_saved", "Accept-Encoding: gzip", "Cookie: "+strings.Repeat("a=b; ", h.IntN(500)),
			"X-Forwarded-For: 10.0.0.1, "+h.headerWord(), "Forwarded: for=\"_x\"", "Traceparent: 00-"+strings.Repeat("0", 32)+"-"+strings.Repeat("f", 16)+"-01",
			"Range: bytes=0-", "If-None-Match: *", "Upgrade: websocket\r\nConnection: Upgrade", "Connection: close", "Connection: keep-alive, X-Api-Key",
			"Idempotency-Key: "+h.headerWord(), "X-Api_Key: pbx-key", "X-Long: "+strings.Repeat("y", h.IntN(30_000)), "Date: never", "Te: trailers"))
	}
	return headers
}

// words are texts that have broken something somewhere.
var words = []string{
	"", " ", "null", "undefined", "NaN", "-0", "1e999", "0x10", "true", "{{call_cost}}", "%CALL_COST%", "{{env.PATH}}", "${jndi:ldap://x}", "{env.PATH}",
	"Bob \"B\" Lee", "'; DROP TABLE events;--", "<script>alert(1)</script>", "../../etc/passwd", "a\x00b", "\r\nX-Injected: 1", "\x1b[31mred\x1b[0m",
	"\xff\xfe", "\xed\xa0\x80", "\u202eevil", "\u2028", "🎬", "ﷺ", "İ", "\uFFFD", "A&B=C", "a+b c%20d", "\\", `\u0000`, `\ud800`, "http://169.254.169.254/",
	"9007199254740993", "18446744073709551616", "-9223372036854775809", "1e-400", "00", "1,5", "[Tag]", "sip:+44@192.0.2.1;user=phone", "PJSIP/100",
}

func (h hostility) word() string {
	if h.one(6) {
		raw := make([]byte, h.IntN(40))
		for i := range raw {
			raw[i] = byte(h.Uint32())
		}
		return string(raw)
	}
	return pick(h, words...)
}

// headerWord returns a word that stays on its line.
func (h hostility) headerWord() string {
	return strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(h.word())
}

func (h hostility) name() string {
	return pick(h, "job_saved", "project_created", "incoming_call", "hangup", "call.hungup", "order_paid", "dmg_work_started", h.word())
}

func (h hostility) body() (body []byte, contentType string) {
	var text bytes.Buffer
	switch h.IntN(14) {
	case 0, 1, 2, 3:
		fmt.Fprintf(&text, `{"event":%q,"id":%d,"data":`, h.name(), h.IntN(1e6))
		h.json(&text, 0)
		text.WriteString(`,"calling_name":"` + h.word() + `"}`)
		contentType = "application/json"
	case 4:
		h.json(&text, 0)
		contentType = "application/json"
	case 5:
		fmt.Fprintf(&text, "event=%s", h.name())
		for h.IntN(8) > 0 {
			fmt.Fprintf(&text, "&%s%s=%s", pick(h, "id", "caller_id", "user[]", "a[b][c]", "data", "date", "unix_time", h.word()), pick(h, "", "[]", "%"), pick(h, url.QueryEscape(h.word()), h.word()))
		}
		contentType = "application/x-www-form-urlencoded"
	case 6:
		boundary := pick(h, "b", "x y", strings.Repeat("b", 70), "b\"")
		for h.IntN(5) > 0 {
			fmt.Fprintf(&text, "--%s\r\nContent-Disposition: form-data; name=%s%s\r\n\r\n%s\r\n", boundary, pick(h, `"event"`, `"id"`, `"data"`, "event", `"`+h.headerWord()),
				pick(h, "", "; filename=\"../../x\"", "; filename*=utf-8''%ff", "\r\nContent-Transfer-Encoding: base64", "\r\nX: "+strings.Repeat("z", h.IntN(20_000))), pick(h, h.name(), h.word()))
		}
		text.WriteString("--" + boundary + pick(h, "--\r\n", "--", "", "\r\n"))
		contentType = "multipart/form-data; boundary=" + pick(h, boundary, `"`+boundary+`"`, "other")
	case 7:
		fmt.Fprintf(&text, `<?xml version="1.0" encoding="%s"?>`, pick(h, "utf-8", "iso-8859-1", "utf-16", "x-none", h.headerWord()))
		text.WriteString(pick(h, "", `<!DOCTYPE a [<!ENTITY x "xxxxxxxxxx"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;"><!ENTITY f SYSTEM "file:///etc/passwd">]>`))
		depth := pick(h, 1, 3, 50, h.IntN(5000))
		text.WriteString(strings.Repeat("<a>", depth) + "<event>" + h.name() + "</event>" + pick(h, "&y;", "&f;", "<![CDATA[", h.word()) + strings.Repeat("</a>", pick(h, depth, depth-1, 0)))
		contentType = pick(h, "application/xml", "text/xml", "application/soap+xml")
	case 8:
		// Deeper than any stack should go.
		depth := pick(h, 100, 1000, 1+h.IntN(60_000))
		opening, closing := pick(h, [2]string{"[", "]"}, [2]string{`{"event":`, "}"}, [2]string{`{"data":[`, "]}"})[0], "]"
		text.WriteString(strings.Repeat(opening, min(depth, 200_000/len(opening))))
		text.WriteString(strings.Repeat(closing, h.IntN(depth)))
		contentType = "application/json"
	case 9:
		text.WriteString("[")
		for i := range 1 + h.IntN(60) {
			if i > 0 {
				text.WriteString(",")
			}
			fmt.Fprintf(&text, `{"event":%q,"id":%d}`, h.name(), i)
		}
		text.WriteString(pick(h, "]", "", ",]"))
		contentType = "application/json"
	case 10:
		// A string in a string in a string.
		inner := `{"event":"job_saved"}`
		for range h.IntN(12) {
			inner = fmt.Sprintf("%q", inner)
		}
		text.WriteString(inner)
		contentType = "text/plain"
	case 11:
		raw := make([]byte, h.IntN(4000))
		for i := range raw {
			raw[i] = byte(h.Uint32())
		}
		text.Write(raw)
		contentType = pick(h, "application/octet-stream", "image/png", "application/json", "")
	case 12:
		if h.one(100) {
			text.WriteString(`{"event":"job_saved","id":"` + strings.Repeat("x", pick(h, 60_000, 1<<20, 1<<21)) + `"}`)
		} else {
			fmt.Fprintf(&text, `{"event":"job_saved","n":%s%s}`, strings.Repeat("9", 1+h.IntN(4000)), pick(h, "", "e999999999", ".5", "e-1"))
		}
		contentType = "application/json"
	case 13:
		// No body.
	}
	return text.Bytes(), contentType
}

// json writes a value, mostly well.
func (h hostility) json(w *bytes.Buffer, depth int) {
	switch n := h.IntN(9); {
	case n < 2 && depth < 5:
		w.WriteByte('{')
		for i := range h.IntN(6) {
			if i > 0 {
				w.WriteByte(',')
			}
			fmt.Fprintf(w, "%q:", pick(h, "id", "event", "type", "status", "data", "payload", "token", "a", "", h.word()))
			h.json(w, depth+1)
		}
		w.WriteByte('}')
	case n < 4 && depth < 5:
		w.WriteByte('[')
		for i := range h.IntN(5) {
			if i > 0 {
				w.WriteByte(',')
			}
			h.json(w, depth+1)
		}
		w.WriteByte(']')
	case n < 5:
		w.WriteString(pick(h, "null", "true", "false", "1", "-1.5e3", "9007199254740993", "1E400", "-", "01", "{{call_cost}}", ""))
	case n < 6:
		w.WriteString(`"` + pick(h, `\ud800`, `\u0000`, `\x`, `\"`, "\t", `\/`) + `"`)
	default:
		w.WriteString(`"` + h.word() + `"`)
	}
}

// bomb is 32 MiB of blanks in 32 KiB.
var bomb = sync.OnceValue(func() []byte {
	var written bytes.Buffer
	zip := gzip.NewWriter(&written)
	blanks := bytes.Repeat([]byte(" "), 1<<20)
	for range 32 {
		_, _ = zip.Write(blanks)
	}
	_ = zip.Close()
	return written.Bytes()
})

func (h hostility) encode(body []byte) (encoded []byte, encoding string) {
	if h.one(10) {
		return bomb(), pick(h, "gzip", "x-gzip", "gzip, gzip")
	}
	var written bytes.Buffer
	zip := gzip.NewWriter(&written)
	_, _ = zip.Write(body)
	_ = zip.Close()
	encoded = written.Bytes()
	if h.one(5) {
		encoded = h.mutate(encoded)
	}
	return encoded, pick(h, "gzip", "gzip", "gzip", "GZIP", "deflate", "br", "zstd", "identity", "gzip, identity", "gzip, gzip", h.headerWord())
}
