package event

// Type is an event that a source is known to send.
type Type struct {
	Name string
	// Description is the vendor's text, empty where the vendor gives none.
	Description string
}
