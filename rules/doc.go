// Package rules decides what an event leads to: action or ignore.
//
// It matches rules with events, evaluates their conditions and explains a
// verdict rule by rule. Package language compiles and evaluates the conditions.
// It knows nothing of HTTP, queues or Caddy.
package rules
