// Package forward carries out actions: it renders a templated request for an
// event, sends it to a target, and settles the delivery with what came of it.
//
// One rule runs through it: what the administrator wrote is trusted, what came
// with the event is not. A value of the event is escaped for the place where it
// is put, can never name a scheme, a host or a header, and where no escaping
// would keep the request's shape the request is not sent at all. The most that an
// event can do is to choose, by its tenant, among values that were configured.
package forward
