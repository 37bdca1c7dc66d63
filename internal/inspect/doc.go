// Package inspect reads for people: what is configured, what is stored, what the
// rules do about it and why, and how the relay is. It changes nothing.
package inspect
