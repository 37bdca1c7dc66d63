package relay

// OwnSource is the name of the source of the relay's own events. No configured
// source may have it.
const OwnSource = "relay"
