package rules

import "strings"

// NormalName returns an event's name in the form in which names compare:
// lower case, with blanks and hyphens as underscores, so that "Incoming Call"
// is incoming_call. Blanks around the name are dropped.
func NormalName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return '_'
		}
		return r
	}, strings.ToLower(strings.TrimSpace(name)))
}

// Nearest returns the candidate that a misspelt name most likely means, or ""
// when none is near. Case and the difference between blank, hyphen and
// underscore count for nothing. Of several equally near ones the first wins.
func Nearest(name string, candidates []string) string {
	wanted := NormalName(name)
	best, bestDistance := "", len(wanted)/3+1
	for _, candidate := range candidates {
		distance := editDistance(wanted, NormalName(candidate), bestDistance)
		if distance < bestDistance || distance == bestDistance && best == "" {
			best, bestDistance = candidate, distance
		}
	}
	return best
}

// editDistance counts the insertions, deletions, replacements and swaps of
// neighbouring bytes that lead from a to b. It may stop and return limit+1 once
// the distance must exceed limit.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
