// Package smtpd is a stand-in for a mail server: it takes each mail, lets any user in
// with any password, and delivers nothing. It is for trying and for tests.
package smtpd

import (
	"fmt"
	"net"
	"net/textproto"
	"strings"
)

// Mail is a mail that was taken.
type Mail struct {
	// From and To are the addresses of the envelope.
	From string
	To   []string
	// Auth is what the client authenticated with, empty if it did not.
	Auth string
	// Text is the whole message with its header.
	Text string
}

// Serve takes mails until the listener is closed. Each is given to take, from several
// goroutines.
func Serve(listener net.Listener, take func(Mail)) error {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return fmt.Errorf("waiting for a connection: %w", err)
		}
		go func() {
			defer func() { _ = connection.Close() }()
			talk(textproto.NewConn(connection), take)
		}()
	}
}

// talk has one conversation, until the client leaves.
func talk(client *textproto.Conn, take func(Mail)) {
	var mail Mail
	reply := "220 mailbox ESMTP"
	for {
		if client.PrintfLine("%s", reply) != nil {
			return
		}
		line, err := client.ReadLine()
		if err != nil {
			return
		}
		command, rest, _ := strings.Cut(line, " ")
		reply = "250 OK"
		switch strings.ToUpper(command) {
		case "EHLO":
			reply = "250-mailbox\r\n250-8BITMIME\r\n250 AUTH PLAIN"
		case "AUTH":
			mail.Auth, reply = rest, "235 OK"
		case "MAIL":
			mail = Mail{From: address(rest), Auth: mail.Auth}
		case "RCPT":
			mail.To = append(mail.To, address(rest))
		case "DATA":
			if client.PrintfLine("354 go ahead") != nil {
				return
			}
			text, err := client.ReadDotBytes()
			if err != nil {
				return
			}
			mail.Text = string(text)
			take(mail)
		case "QUIT":
			_ = client.PrintfLine("221 bye")
			return
		}
	}
}

// address returns what stands between angle brackets.
func address(text string) string {
	_, text, _ = strings.Cut(text, "<")
	text, _, _ = strings.Cut(text, ">")
	return text
}
