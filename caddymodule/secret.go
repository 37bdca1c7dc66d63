package caddymodule

import (
	"fmt"
	"regexp"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"
)

// secretReference is a value that is wholly a reference to the environment or
// to a file. Nothing else is replaced, because a replacer would destroy JSON
// and templates.
var secretReference = regexp.MustCompile(`^\{(env|file)\.[^{}]+\}$`)

// resolve returns the value that a configured text stands for, and whether it
// came from outside the configuration and is therefore a secret. A reference
// to something unset, unreadable or empty gives an empty value; in a dry run,
// none is followed.
func (a *App) resolve(text string) (value string, secret bool) {
	if !secretReference.MatchString(text) {
		return text, false
	}
	if a.dry != nil {
		return masked, true
	}
	return caddy.NewReplacer().ReplaceAll(text, ""), true
}

// secrets resolves the secrets of a setting of something. Empty ones are left
// out with a warning, because an empty secret would let everybody in, or sign
// what everybody can sign; it is an error when none remains.
func (a *App) secrets(of, setting string, texts []string) ([]string, error) {
	values := make([]string, 0, len(texts))
	for _, text := range texts {
		value, _ := a.resolve(text)
		if value == "" {
			a.logger.Warn("a secret is empty and was left out", zap.String("of", of),
				zap.String("setting", setting), zap.String("value", text))
			continue
		}
		values = append(values, value)
	}
	if len(values) == 0 {
		return nil, fmt.Errorf("reading the secrets of %s, %s: every value is empty; "+
			"set the environment variable or the file that %v names", of, setting, texts)
	}
	return values, nil
}
