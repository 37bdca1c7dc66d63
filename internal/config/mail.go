package config

// StartTLS says whether a mail goes to its server over TLS when the connection
// begins without it.
type StartTLS string

const (
	// StartTLSAuto uses TLS where the server offers it.
	StartTLSAuto StartTLS = "auto"
	// StartTLSRequired sends nothing to a server that does not offer TLS.
	StartTLSRequired StartTLS = "required"
	// StartTLSOff never asks for TLS.
	StartTLSOff StartTLS = "off"
)
