// Command mailbox is a stand-in for the mail server of the examples: it takes each
// mail, prints it, and delivers nothing.
package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"strings"

	"github.com/caddy-event-relay/event-relay/examples/mailbox/smtpd"
)

func main() {
	address := flag.String("listen", "127.0.0.1:2525", "the address to listen on")
	flag.Parse()
	listener, err := net.Listen("tcp", *address)
	if err != nil {
		log.Fatalf("listening: %v", err)
	}
	log.Printf("listening on %s", *address)
	log.Fatal(smtpd.Serve(listener, func(mail smtpd.Mail) {
		fmt.Printf("--- from %s to %s\n%s\n", mail.From, strings.Join(mail.To, ", "), mail.Text)
	}))
}
