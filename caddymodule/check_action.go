package caddymodule

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

func (a *Action) check(wrong *findings) {
	if err := checkName("action", a.Name); err != nil {
		wrong.add(a.Place, err)
		return
	}
	add := func(part string, err error) {
		if err != nil {
			wrong.add(a.Place, fmt.Errorf("reading %s of action %s: %w", part, a.Name, err))
		}
	}
	add("the URL", checkTemplate(a.URL))
	for _, pair := range a.Query {
		add("query "+pair.Name, checkTemplate(pair.Name))
		add("query "+pair.Name, checkTemplate(pair.Value))
	}
	for _, pair := range a.Headers {
		add("header "+pair.Name, checkTemplate(pair.Name))
		add("header "+pair.Name, checkTemplate(pair.Value))
	}
	if a.Auth != nil {
		add("auth", a.Auth.check())
	}
	if a.Body != nil {
		add("the body", a.Body.check())
	}
	if a.RetryFor != retryOff {
		add("retry_for", checkSign("it", time.Duration(a.RetryFor)))
	}
	if a.Rate != nil && (a.Rate.Count <= 0 || a.Rate.Per <= 0) {
		add("rate", errors.New("it needs a count and a time, per, that are above zero"))
	}
	add("expires", checkSign("it", time.Duration(a.Expires)))
	for _, secret := range a.Sign {
		add("sign", checkSigning(secret))
	}
	if a.TLS != nil && (a.TLS.ClientCertificateFile == "") != (a.TLS.ClientCertificateKeyFile == "") {
		add("tls", errors.New("a client's certificate and its key come together; name both files or none"))
	}
}

// checkSigning finds what cannot be a secret of sign. A parameter cannot: its
// value could be another for each event.
func checkSigning(secret string) error {
	if strings.Contains(secret, "{{") {
		return errors.New("a secret is no template: write it as {env.NAME} or {file./path}")
	}
	return checkValue(secret)
}

// check finds what would be lost, as the place of a password depends on the
// kind, and what checkValues finds.
func (a *ActionAuth) check() error {
	switch {
	case a.Kind == "basic" && a.Value != "":
		return errors.New("basic has no value; it takes user and password")
	case a.Kind != "basic" && a.Password != "":
		return fmt.Errorf("only basic has a password, not %q", a.Kind)
	}
	return a.checkValues()
}

// checkValues finds credentials that prove nothing, and placeholders in them.
// User or password may be empty: there are services that want a key for the one
// and nothing for the other.
func (a *ActionAuth) checkValues() error {
	if a.Kind == "basic" && a.User+a.Password == "" {
		return errors.New("basic has neither user nor password, which proves nothing; write auth none if that is meant")
	}
	for _, text := range []string{a.Name, a.Value, a.User, a.Password} {
		if err := checkTemplate(text); err != nil {
			return err
		}
	}
	return nil
}

func (b *Body) check() error {
	if strings.Contains(b.Type, "{{") {
		return errors.New("the type of a raw body is no template; a header Content-Type may hold parameters")
	}
	for _, field := range b.Fields {
		for _, text := range []string{field.Name, field.Value, field.Type} {
			if err := checkTemplate(text); err != nil {
				return fmt.Errorf("field %s: %w", field.Name, err)
			}
		}
	}
	return checkTemplate(b.Text)
}
