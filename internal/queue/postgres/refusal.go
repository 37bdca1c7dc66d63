package postgres

import (
	"crypto/x509"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// refusal returns what keeps this node from connecting, and the remedy, for an
// administrator. Both are empty for an error of another kind. What the server says of a user
// or a database holds no password.
func refusal(err error) (what, remedy string) {
	var refused *pgconn.PgError
	var failed *pgconn.ConnectError
	switch {
	case err == nil:
		return "", ""
	case errors.As(err, &refused):
		switch refused.Code {
		case "28P01", "28000":
		default:
			return "", ""
		}
		// The name of the file is in the message whatever the server's language is.
		if !strings.Contains(refused.Message, "pg_hba.conf") || !errors.As(err, &failed) {
			return "the database refuses the user of the DSN: " + refused.Message, "check user, password and pg_hba.conf"
		}
		remedy := fmt.Sprintf("add a line for this machine to pg_hba.conf of the server, such as: hostssl %s %s ADDRESS/32 scram-sha-256, and reload the server",
			failed.Config.Database, failed.Config.User)
		if failed.Config.TLSConfig == nil {
			remedy += "; if there is a line with hostssl, set sslmode=require in the DSN"
		}
		return "the database does not let this machine in: " + refused.Message, remedy
	}
	if as[x509.UnknownAuthorityError](err) {
		return "the certificate of the database is of no authority that is known here", "name the file with the certificate of its authority in the DSN: sslrootcert=FILE"
	}
	if as[x509.HostnameError](err) {
		return "the certificate of the database is for another name than the DSN has", "write the name of the certificate into the DSN, or give the server a certificate for this one"
	}
	if as[x509.CertificateInvalidError](err) {
		return "the certificate of the database is not valid", "renew it on the server; if it should be valid, look at the clock of this machine"
	}
	// The driver has no type for this.
	if strings.Contains(err.Error(), "server refused TLS connection") {
		return "the server has no TLS, which sslmode of the DSN asks for", "set ssl = on there, with a certificate; or sslmode=disable, on a network of your own"
	}
	return "", ""
}

// as reports whether there is an error of a type in an error.
func as[E error](err error) bool {
	var found E
	return errors.As(err, &found)
}
