package receive

import (
	"bufio"
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/net/html/charset"
)

// Encodings are the content encodings that are undone, for an Accept-Encoding
// header.
const Encodings = "gzip, deflate, zstd"

// maxEncodings is how many content encodings of one body are undone. Senders
// use one. Each costs as much time and memory as max_body allows.
const maxEncodings = 4

// encodings returns the content encodings of the request in the order in which
// they were applied, without those that change nothing. It refuses a body that
// cannot be decoded: kept encoded, its event would be stored and match no rule.
func (req *request) encodings() ([]string, error) {
	lines := req.request.Header["Content-Encoding"]
	if len(lines) == 0 {
		return nil, nil
	}
	var list []string
	for name := range strings.SplitSeq(strings.Join(lines, ","), ",") {
		switch name = strings.ToLower(strings.TrimSpace(name)); name {
		case "", "identity", "none":
		case "gzip", "x-gzip":
			list = append(list, "gzip")
		case "deflate", "zstd":
			list = append(list, name)
		default:
			// Some senders write the charset here. Their body is not encoded.
			if e, _ := charset.Lookup(name); e == nil {
				return nil, refuse(http.StatusUnsupportedMediaType, "the content encoding of the body is none of %s: "+
					"set the sender to one of them, or to none", Encodings)
			}
		}
	}
	if len(list) > maxEncodings {
		return nil, refuse(http.StatusUnsupportedMediaType, "the body has %d content encodings, one upon another; at most %d are undone",
			len(list), maxEncodings)
	}
	return list, nil
}

// decodeContent undoes the content encodings, the last first. Each result is
// bounded as the body is. A damaged body is returned as it came and the problem
// is noted, because an authenticated request is never dropped for its body.
func (req *request) decodeContent(wire []byte, encodings []string, in *intake) ([]byte, error) {
	if len(wire) == 0 {
		return wire, nil
	}
	body := wire
	for i, encoding := range slices.Backward(encodings) {
		decoded, err := in.decode(body, encoding)
		switch {
		case errors.Is(err, errTooLarge), errors.Is(err, errNoBudget):
			return nil, req.readFailure(err, in)
		case err != nil:
			req.contentProblem = "undoing the content encoding " + encoding + ": " + err.Error()
			return wire, nil
		}
		if i < len(encodings)-1 {
			in.giveBack(cap(body))
		}
		body = decoded
	}
	return body, nil
}

// decode undoes one content encoding.
func (in *intake) decode(body []byte, encoding string) ([]byte, error) {
	if encoding == "zstd" {
		return in.decodeZstd(body)
	}
	source := bufio.NewReaderSize(bytes.NewReader(body), 4<<10)
	var reader io.Reader
	var err error
	if encoding == "deflate" {
		reader, err = openDeflate(source)
	} else {
		reader, err = gzip.NewReader(source)
	}
	if err != nil {
		return nil, err
	}
	return in.readAll(reader, -1)
}

// openDeflate reads "deflate" with the zlib header that the standard asks for,
// and without it, as many senders do.
func openDeflate(r *bufio.Reader) (io.Reader, error) {
	head, err := r.Peek(2)
	if err == nil && head[0]&0x0f == 8 && (uint(head[0])<<8|uint(head[1]))%31 == 0 {
		return zlib.NewReader(r)
	}
	return flate.NewReader(r), nil
}

// zstdDecoder decodes whole bodies, as many at once as there are processors. It
// starts no goroutine. Its output ends at the capacity of the room that it is
// given, whatever a frame claims.
var zstdDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderLowmem(true), zstd.WithDecodeAllCapLimit(true))
})

// zstdBlock is the largest block of a zstd frame (RFC 8878, 3.1.1.2.4).
const zstdBlock = 128 << 10

// decodeZstd decodes into room that grows until the body fits or the limit is
// reached. A decoder of streams would take the window that a frame claims, 8 MiB
// and more, for a body of a few bytes.
func (in *intake) decodeZstd(body []byte) ([]byte, error) {
	decoder, err := zstdDecoder()
	if err != nil {
		return nil, err
	}
	for size := int64(firstRead); ; size *= 4 {
		size = min(size, in.limit)
		room := int(size) + zstdBlock
		if err := in.take(room); err != nil {
			return nil, err
		}
		decoded, err := decoder.DecodeAll(body, make([]byte, 0, room))
		switch {
		case int64(len(decoded)) > in.limit:
			return nil, errTooLarge
		case err == nil:
			fitted := bytes.Clone(decoded)
			in.giveBack(room - cap(fitted))
			return fitted, nil
		case !errors.Is(err, zstd.ErrDecoderSizeExceeded) && int64(len(decoded)) <= size:
			// There was room for the block that failed: it is damaged.
			in.giveBack(room)
			return nil, err
		case size == in.limit:
			return nil, errTooLarge
		}
		in.giveBack(room)
	}
}
