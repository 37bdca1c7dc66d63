// Package forward carries out actions: it takes due deliveries from the queue,
// renders the request of each (package template), sends it to its target (package
// send), and settles the delivery with what came of it.
//
// A worker for each action takes its deliveries, within the action's concurrency
// and rate. A circuit for each target holds them back while the target does not
// answer. The answer, or its absence, decides whether a delivery has ended or is
// tried again.
package forward
