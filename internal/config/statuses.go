package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Statuses is a set of statuses of HTTP.
type Statuses [600 / 8]byte

// Has reports whether a status is in the set.
func (s *Statuses) Has(status int) bool {
	return status >= 0 && status < 600 && s[status/8]&(1<<(status%8)) != 0
}

func (s *Statuses) add(status int) { s[status/8] |= 1 << (status % 8) }

// ParseStatuses reads statuses such as 409, and classes of them such as 2xx.
func ParseStatuses(words []string) (*Statuses, error) {
	set := new(Statuses)
	for _, word := range words {
		if class, isClass := strings.CutSuffix(strings.ToLower(word), "xx"); isClass && len(class) == 1 && class >= "2" && class <= "5" {
			first := int(class[0]-'0') * 100
			for status := first; status < first+100; status++ {
				set.add(status)
			}
			continue
		}
		status, err := strconv.Atoi(word)
		if err != nil || len(word) != 3 || status < 200 || status > 599 {
			return nil, fmt.Errorf("%q is not a status: write a number such as 409, or a class such as 2xx", word)
		}
		set.add(status)
	}
	return set, nil
}
