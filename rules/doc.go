// Package rules decides what an event leads to: action or ignore.
//
// It holds the words that the other rooms share (Event, Verdict, the
// catalogue of known events, the system parameters), the language that
// conditions and templates are written in, and the rules themselves. It knows
// expr and nothing of HTTP, queues or Caddy.
package rules
