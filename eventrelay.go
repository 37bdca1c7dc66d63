// Package eventrelay is Event Relay, a Caddy module for the public edge of a
// company network. Business systems in the cloud post their events to one
// public URL: iCFM its event queue, a CloudPBX (PBXware) its calls, others
// whatever they have. For each event the relay evaluates rules, and either
// ignores it or carries out actions: templated HTTP requests to services on
// the local network.
//
// A 2xx answer means that the event is on stable storage. Every delivery ends
// in a state that is shown: delivered, failed, expired or cancelled.
// For every event, also an ignored one, the relay can say why it led to what
// it did. And what an event says can never name a host, nor break out of the
// place in a request where it is put.
//
// This package holds nothing but the import that makes the module part of a
// Caddy built with xcaddy, here from the checkout:
//
//	xcaddy build --with github.com/caddy-event-relay/event-relay=.
//
// Everything that knows Caddy is in caddymodule. What the relay does is in
// rooms that know nothing of Caddy: rules decides, handlers/receive takes
// requests in, handlers/forward sends them out, internal/queue keeps what
// waits, and internal/relay puts them together.
package eventrelay

import _ "github.com/caddy-event-relay/event-relay/caddymodule"
