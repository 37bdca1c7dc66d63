// Package language is the language that conditions and templates are written in:
// that of expr, with values which can be absent and with numbers that keep all
// their digits. Language says what differs from expr.
package language
