// Package replay does again what was done about stored events: deliveries are
// sent again, and events decided again. It also sends test events.
package replay
