package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
)

// The most that the body of a request may hold, in bytes.
const (
	smallBody = 1 << 20
	// eventBody is for what holds an event or a configuration.
	eventBody = 16 << 20
)

// decode reads a request's JSON into a structure. Members that are not known are
// refused, because one that is misspelt would be passed over, and that here
// means to do something to all instead of to some.
func (c *call) decode(limit int64, into any) error {
	// A form of another site cannot send this type without asking first.
	if kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return &Error{Status: http.StatusUnsupportedMediaType, Err: errors.New("reading the request: its Content-Type must be application/json")}
	}
	decoder := json.NewDecoder(http.MaxBytesReader(c.w, c.r.Body, limit))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, err = decoder.Token(); err == nil {
			err = errors.New("something follows the JSON object")
		} else if errors.Is(err, io.EOF) {
			return nil
		}
	}
	var large *http.MaxBytesError
	var shape *json.UnmarshalTypeError
	switch {
	case errors.As(err, &large):
		return &Error{Status: http.StatusRequestEntityTooLarge, Err: fmt.Errorf("reading the request: it is larger than %d bytes", limit)}
	case errors.As(err, &shape):
		return wrong(shape.Field, "reading the request: %s cannot be a JSON %s", named(shape.Field), shape.Value)
	}
	if field, unknown := strings.CutPrefix(err.Error(), "json: unknown field "); unknown {
		field = strings.Trim(field, `"`)
		return wrong(field, "reading the request: there is no member %q", field)
	}
	return wrong("", "reading the request: it is no JSON object: %w", err)
}

func named(field string) string {
	if field == "" {
		return "the whole"
	}
	return field
}
