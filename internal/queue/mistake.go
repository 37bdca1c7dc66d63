package queue

import "fmt"

// mistake is an error that trying again does not mend.
type mistake struct{ error }

func (m mistake) Is(target error) bool { return target == ErrMisconfigured }
func (m mistake) Unwrap() error        { return m.error }

// Mistaken returns an error that wraps ErrMisconfigured: trying again does not
// mend what it says.
func Mistaken(format string, args ...any) error { return mistake{fmt.Errorf(format, args...)} }
