package caddymodule

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/secret"
)

// resolve returns the value that a configured text stands for, and whether it
// came from outside the configuration and is therefore a secret. Only a text that is
// wholly a reference is replaced, because a replacer would destroy JSON and templates. A reference
// to something unset, unreadable or empty gives an empty value; in a dry run,
// none is followed.
func (a *App) resolve(text string) (value string, isSecret bool) {
	if !secret.IsReference(text) {
		return text, false
	}
	if a.dry != nil {
		return secret.Masked, true
	}
	value = caddy.NewReplacer().ReplaceAll(text, "")
	if isFileReference(text) {
		if a.files == nil {
			a.files = make(map[string]string)
		}
		a.files[text] = value
	}
	return value, true
}

func isFileReference(text string) bool { return strings.HasPrefix(text, "{file.") }

// changedFiles says which files of secrets hold something else than when this
// configuration was loaded. Caddy takes a reload of an unchanged configuration
// for nothing to be done, with exit status 0, also if such a file has changed.
func (a *App) changedFiles() (changed []string) {
	for _, reference := range slices.Sorted(maps.Keys(a.files)) {
		if caddy.NewReplacer().ReplaceAll(reference, "") != a.files[reference] {
			changed = append(changed, fmt.Sprintf("the file of %s has changed since the configuration was loaded; "+
				"the old value counts until: caddy reload --force", reference))
		}
	}
	return changed
}

// skippedText says that a secret is empty and what to do.
func skippedText(of, setting, text string) string {
	remedy := "a reload does not see a changed environment file: restart Caddy, or write {file./path} in its place"
	if isFileReference(text) {
		remedy = "see that its file can be read and is not empty, then: caddy reload --force"
	}
	return fmt.Sprintf("%s, %s: %s is empty and was left out; %s", of, setting, text, remedy)
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
			a.skipped = append(a.skipped, skippedText(of, setting, text))
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
