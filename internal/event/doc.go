// Package event holds what one request of a sender told: the event with its
// system parameters, the values that it is made of, how they are read from JSON
// and from texts, and the record that engines store.
package event
