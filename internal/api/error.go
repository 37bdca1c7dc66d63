package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/relay"
	"github.com/caddy-event-relay/event-relay/internal/replay"
)

// Error is why a request was not done.
type Error struct {
	// Status is the HTTP status that it is answered with.
	Status int
	// Field is the query key or JSON member that is wrong, empty if none is.
	Field string
	// Err is a sentence for an administrator.
	Err error
}

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// wrong returns the error for a field that cannot be understood.
func wrong(field, format string, arguments ...any) *Error {
	return &Error{Status: http.StatusBadRequest, Field: field, Err: fmt.Errorf(format, arguments...)}
}

// statusGone is for a client that went away before the answer. It appears only in
// logs.
const statusGone = 499

// AsError returns the error with the HTTP status that answers it. An error that is
// no *Error and none of those with a status of their own has status 500.
func AsError(err error) *Error {
	var known *Error
	var input *relay.WrongInput
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &input):
		return &Error{Status: http.StatusBadRequest, Field: input.Field, Err: err}
	case errors.Is(err, queue.ErrCursor):
		return &Error{Status: http.StatusBadRequest, Field: "after", Err: err}
	case errors.Is(err, queue.ErrNoBackup):
		return &Error{Status: http.StatusBadRequest, Err: err}
	case errors.Is(err, replay.ErrRehearsing):
		return &Error{Status: http.StatusConflict, Err: err}
	case errors.Is(err, queue.ErrNotFound):
		return &Error{Status: http.StatusNotFound, Err: err}
	case errors.Is(err, queue.ErrFull), errors.Is(err, queue.ErrUnavailable), errors.Is(err, queue.ErrClosed):
		return &Error{Status: http.StatusServiceUnavailable, Err: err}
	case errors.Is(err, context.Canceled):
		return &Error{Status: statusGone, Err: err}
	}
	return &Error{Status: http.StatusInternalServerError, Err: err}
}

// failure is how an error is answered.
type failure struct {
	Error string `json:"error"`
	Field string `json:"field,omitempty"`
}

// WriteError answers with the status of an error and its text as JSON.
func WriteError(w http.ResponseWriter, err error) {
	known := AsError(err)
	body, _ := json.Marshal(failure{Error: known.Error(), Field: known.Field})
	header(w, "application/json")
	w.WriteHeader(known.Status)
	_, _ = w.Write(append(body, '\n'))
}
