package language

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/event"
)

// addTextFunctions adds the functions for what templates mostly need: phone
// numbers, texts in place of empty ones, signatures.
func addTextFunctions(functions map[string]function) {
	functions["digits"] = function{least: 1, most: 2, call: digits, check: oneOf(1, "+")}
	functions["default"] = function{least: 2, most: 2, call: defaultTo, absent: true}
	functions["hmac_sha256"] = function{least: 2, most: 3, call: hmacSHA256, check: oneOf(2, "hex", "base64")}
}

// oneOf is the check of an argument that must be one of a few texts.
func oneOf(place int, texts ...string) func(args []any) error {
	return func(args []any) error {
		if len(args) <= place || args[place] == nil {
			return nil
		}
		for _, text := range texts {
			if args[place] == text {
				return nil
			}
		}
		return errors.New(`the last value must be "` + strings.Join(texts, `" or "`) + `"`)
	}
}

// digits leaves nothing of a phone number but its digits, and with "+" as
// second argument also a plus before the first of them. A text without any
// digit gives nothing.
func digits(args []any) (any, error) {
	if err := oneOf(1, "+")(args); err != nil {
		return nil, err
	}
	if kind := kindOf(args[0]); kind != event.TextKind && kind != event.NumberKind {
		return nil, wrongKind("text or a whole number", args[0])
	}
	text, err := textOf(args[0])
	if err != nil {
		return nil, err
	}
	if isNumber(args[0]) && strings.ContainsAny(text, ".eE") {
		return nil, wrongKind("text or a whole number", args[0])
	}
	out := make([]byte, 0, len(text))
	first := strings.IndexAny(text, "0123456789")
	if first < 0 {
		return nil, nil
	}
	if len(args) == 2 && strings.Contains(text[:first], "+") {
		out = append(out, '+')
	}
	for i := first; i < len(text); i++ {
		if c := text[i]; c >= '0' && c <= '9' {
			out = append(out, c)
		}
	}
	return string(out), nil
}

// defaultTo is its second argument if the first is absent or a text of nothing
// but blanks. The operator ?? sees only what is absent, not what a function has
// emptied.
func defaultTo(args []any) (any, error) {
	if text, ok := args[0].(string); args[0] == nil || ok && strings.TrimSpace(text) == "" {
		return args[1], nil
	}
	return args[0], nil
}

// hmacSHA256 signs a text with a secret.
func hmacSHA256(args []any) (any, error) {
	if err := oneOf(2, "hex", "base64")(args); err != nil {
		return nil, err
	}
	text, err := textOf(args[0])
	if err != nil {
		return nil, err
	}
	secret, ok := args[1].(string)
	if !ok {
		return nil, wrongKind("a secret as text", args[1])
	}
	if secret == "" {
		return nil, errors.New("the secret is empty")
	}
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write([]byte(text))
	if len(args) == 3 && args[2] == "base64" {
		return base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
	}
	return hex.EncodeToString(mac.Sum(nil)), nil
}
