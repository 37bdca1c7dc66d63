package receive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

// intake reads the body of one request within its limits.
type intake struct {
	limit  int64
	charge *charge // nil once the sender has proven itself
}

// take counts n more bytes that are held.
func (in *intake) take(n int) error {
	if in.charge == nil {
		return nil
	}
	return in.charge.take(int64(n))
}

// giveBack counts n bytes less.
func (in *intake) giveBack(n int) {
	if in.charge != nil {
		_ = in.charge.take(-int64(n)) // fails only where nothing counts any more
	}
}

// firstRead is how much room a body gets at once. A sender that declares more
// has to send it before it gets more. One that has not proven itself gets less,
// so that a connection that stalls costs little.
const firstRead = 64 << 10

// readAll reads to the end or to the limit. declared is the expected length,
// negative when it is not known. On an error it returns what came before.
func (in *intake) readAll(r io.Reader, declared int64) ([]byte, error) {
	// One byte more than declared makes room for reading the end of the body
	// without growing.
	size := int64(4<<10) - 1
	if in.charge == nil && declared >= 0 {
		size = min(declared, firstRead)
	} else if declared >= 0 {
		size = min(declared, size)
	}
	var body []byte
	for {
		size = min(size, in.limit) + 1
		if err := in.take(int(size) - cap(body)); err != nil {
			return body, err
		}
		grown := make([]byte, len(body), size)
		copy(grown, body)
		body = grown
		for len(body) < cap(body) {
			n, err := r.Read(body[len(body):cap(body)])
			body = body[:len(body)+n]
			switch {
			case int64(len(body)) > in.limit:
				return body, errTooLarge
			case err == io.EOF:
				if cap(body) > 2*len(body)+1 {
					fitted := bytes.Clone(body) // the event keeps it; let the rest go
					in.giveBack(cap(body) - cap(fitted))
					body = fitted
				}
				return body, nil
			case err != nil:
				return body, err
			}
		}
		if size *= 2; declared >= 0 {
			size = min(size, max(declared, int64(len(body))))
		}
	}
}

// body reads the request's body: wire is as it was sent, raw without its content
// encodings. A content encoding that is not known is refused before anything is
// read.
func (req *request) body(in *intake) (wire, raw []byte, err error) {
	request := req.request
	if request.Body == nil || request.Body == http.NoBody || request.Method == http.MethodHead {
		return nil, nil, nil
	}
	encodings, err := req.encodings()
	if err != nil {
		return nil, nil, err
	}
	if wire, err = req.readBody(in); err != nil {
		return nil, nil, err
	}
	raw, err = req.decodeContent(wire, encodings, in)
	return wire, raw, err
}

// readBody reads the request's body as it was sent.
func (req *request) readBody(in *intake) ([]byte, error) {
	reader, set := io.Reader(req.request.Body), req.origin.SetReadDeadline
	timeout := req.receiver.options.BodyTimeout
	until := time.Now().Add(timeout)
	if c := in.charge; c != nil {
		arriving := &arrival{body: reader, charge: c, until: until, window: timeout / 3}
		arriving.next()
		reader, set = arriving, func(at time.Time) error { c.deadline.move(at); return nil }
	} else if set != nil {
		// A writer that knows no deadlines is no reason to refuse: what stands in
		// front of it has its own.
		_ = set(until)
	}
	body, err := in.readAll(reader, req.request.ContentLength)
	if in.charge != nil {
		if late := in.charge.arrived(); late != nil {
			err = late
		}
	}
	if err != nil {
		// The deadline stays: it also bounds what the server reads of the rest.
		return nil, req.readFailure(err, in)
	}
	if set != nil && (in.charge != nil || req.request.ProtoMajor != 1) {
		// An expired deadline would end the request's context while the event
		// is being stored. For HTTP/1, net/http lifts it itself at the end of the
		// body, where it begins to watch for a sender that leaves.
		_ = set(time.Time{})
	}
	return body, nil
}

// readFailure turns an error of reading into what it means for the sender.
func (req *request) readFailure(err error, in *intake) error {
	var tooLarge *http.MaxBytesError
	var network net.Error
	switch {
	case errors.Is(err, errTooLarge), errors.As(err, &tooLarge):
		return tooLargeRefusal(in.limit)
	case errors.Is(err, errNoBudget):
		return refuse(http.StatusServiceUnavailable, "%q (at most %d in all and %d for one address): the relay is being flooded, "+
			"or many senders prove themselves by body or signature at once; prefer credentials in a header", err,
			req.receiver.unproven.limit, req.receiver.unproven.share)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		if in.charge != nil {
			return refuse(http.StatusRequestTimeout, "the body did not arrive within %q, or less than %d bytes of it within %q",
				req.receiver.options.BodyTimeout, leastArrival, req.receiver.options.BodyTimeout/3)
		}
		return refuse(http.StatusRequestTimeout, "the body did not arrive within %q", req.receiver.options.BodyTimeout)
	}
	// HTTP/2 and HTTP/3 have no transfer encoding that could be broken: there, a
	// body that ends with an error is a stream that is closed.
	closed := req.request.ProtoMajor >= 2 || req.request.Context().Err() != nil
	if closed || errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &network) {
		return fmt.Errorf("reading body: %w: %w", ErrSenderGone, err)
	}
	return refuse(http.StatusBadRequest, "the body's transfer encoding is broken: %q", err)
}

func tooLargeRefusal(limit int64) *Refusal {
	return refuse(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes; to accept it, raise max_body of the source", limit)
}
