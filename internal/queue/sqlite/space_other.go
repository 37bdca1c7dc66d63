//go:build !(linux || darwin || freebsd || dragonfly || windows)

package sqlite

import "math"

// freeBytes does not know; a full disk is noticed when a write fails.
func freeBytes(string) (int64, error) { return math.MaxInt64, nil }
