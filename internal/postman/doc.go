// Package postman turns Postman collections into actions: what a collection and
// an environment say is read as Postman reads it, and becomes actions, custom
// parameters and a report of everything that was changed, is to be looked at or
// was left out. It also writes actions and parameters as Caddyfile text.
//
// The aim is that an action sends what Postman sends, as long as values need no
// escaping. Where the relay differs on purpose, a finding says so.
package postman
