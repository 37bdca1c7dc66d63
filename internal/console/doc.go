// Package console is the face that the relay shows: one JSON API, which the
// admin API, the commands and the page have in common, and the page itself.
package console
