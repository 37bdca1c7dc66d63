// Package template makes requests of an action's templates and an event.
//
// Compile parses the templates and their expressions once, when a configuration is
// loaded, and reports all mistakes together. Render fills them in for one event, at
// each attempt. Nothing here waits, sends, or knows of a queue.
//
// What the administrator wrote is trusted, what came with the event is not. A value
// of the event is escaped for the place where it is put. It can never name a scheme,
// a host or a header. Where no escaping would keep the request's shape, the request
// is not sent at all. The most that an event can do is to choose, by its tenant,
// among values that were configured.
package template
