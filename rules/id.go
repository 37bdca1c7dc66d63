package rules

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// ID identifies a rule by what it says: its events, its conditions, and what they
// lead to. It stays the same when the rule moves to another line or file, is
// switched off, or gets another description; a rule that says something else is
// another rule. Two rules that say the same have the same one. It is 12 hexadecimal
// digits.
func ID(rule config.Rule) string {
	says := struct {
		Events, When, Do []string
		Ignore           bool
	}{Ignore: rule.Ignore}
	for _, event := range rule.Events {
		source, own, qualified := strings.Cut(event, ":")
		if qualified {
			event = source + ":" + names.Normal(own)
		} else {
			event = names.Normal(event)
		}
		says.Events = append(says.Events, event)
	}
	slices.Sort(says.Events)
	says.Events = slices.Compact(says.Events)
	for _, condition := range rule.When {
		says.When = append(says.When, strings.TrimSpace(condition))
	}
	for _, action := range rule.Do {
		if !slices.Contains(says.Do, action) {
			says.Do = append(says.Do, action)
		}
	}
	// Lists of text can always be encoded.
	text, _ := json.Marshal(says)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}
