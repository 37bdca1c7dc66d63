package escape

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// ErrControl means that a text holds a control character.
var ErrControl = errors.New("the value holds a control character")

// CheckHeader returns an error that wraps ErrControl if a text cannot stand in a
// header field. Nothing can be escaped there, and a line end would begin another
// field. The error names the character and holds nothing else of the text.
func CheckHeader(text string) error {
	if at := strings.IndexFunc(text, unicode.IsControl); at >= 0 {
		return fmt.Errorf("%w (%U)", ErrControl, []rune(text[at:])[0])
	}
	return nil
}
