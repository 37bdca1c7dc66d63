// Package receive turns HTTP requests of senders into events.
//
// A Receiver knows the configured sources. For each request it finds out who
// sent it and which event it reports, decodes the body whatever its
// Content-Type claims, takes the credentials out, and reads the system
// parameters and the source's own fields:
//
//	request ─► method, address, length ─► credentials ─► body ─► source ─► events
//
// What can be refused is refused before the body is read. What a source has
// vouched for is never dropped for its content: a body that cannot be read is
// kept with ParseError, an event whose name cannot be found is kept as
// event.UnknownName.
//
// The package knows rules and net/http, and nothing of Caddy, queues or what
// becomes of an event.
package receive
