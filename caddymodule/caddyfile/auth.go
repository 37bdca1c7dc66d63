package caddyfile

import (
	"slices"

	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

// credentialKinds holds the kinds of `auth` in a source.
var credentialKinds = level[config.Credential]{name: "auth", settings: []setting[config.Credential]{
	{name: "bearer", usage: "VALUE…", wants: "one or more tokens", least: 1, most: -1, read: func(l *line, c *config.Credential) (err error) {
		c.Values, err = l.secrets(0)
		return err
	}},
	{name: "basic", usage: "USER PASSWORD", wants: "a user and a password", least: 2, most: 2, read: func(l *line, c *config.Credential) error {
		values, err := l.secrets(0)
		if err != nil {
			return err
		}
		c.User, c.Password = values[0], values[1]
		return nil
	}},
	{name: "api_key", usage: "header|query|body NAME VALUE…", wants: "a place, a name and one or more values", least: 3, most: -1,
		read: func(l *line, c *config.Credential) (err error) {
			if c.In = l.text(0); !slices.Contains(auth.KeyPlaces, c.In) {
				return l.errf("%w", names.Unknown("api_key place", c.In, auth.KeyPlaces, ""))
			}
			if c.Name, err = l.nonEmpty(1, "name"); err != nil {
				return err
			}
			c.Values, err = l.secrets(2)
			return err
		}},
	{name: "path", usage: "VALUE…", wants: "one or more values of the path's last segment", least: 1, most: -1, read: func(l *line, c *config.Credential) (err error) {
		c.Values, err = l.secrets(0)
		return err
	}},
	{name: "hmac", usage: "HEADER ALGORITHM SECRET…", wants: "a header, an algorithm and one or more secrets", least: 3, most: -1, block: true, read: readHMAC},
	{name: "standard_webhooks", usage: "SECRET…", wants: "one or more secrets", least: 1, most: -1, block: true, read: func(l *line, c *config.Credential) (err error) {
		if c.Values, err = l.secrets(0); err != nil {
			return err
		}
		_, err = standardWebhooksLevel.read(l.d, c)
		return err
	}},
	{name: "none", least: 0, most: 0, read: func(*line, *config.Credential) error { return nil }},
}}

// hmacLevel holds the settings of `auth hmac`.
var hmacLevel = level[config.Credential]{name: "an auth hmac block", settings: []setting[config.Credential]{
	{name: "timestamp", usage: "HEADER [TOLERANCE]", wants: "a header and perhaps a duration", least: 1, most: 2, read: func(l *line, c *config.Credential) (err error) {
		if c.Timestamp, err = l.nonEmpty(0, "header"); err == nil && len(l.args) > 1 {
			c.Tolerance, err = l.duration(1)
		}
		return err
	}},
}}

// standardWebhooksLevel holds the settings of `auth standard_webhooks`.
var standardWebhooksLevel = level[config.Credential]{name: "an auth standard_webhooks block", settings: []setting[config.Credential]{
	{name: "tolerance", usage: "DURATION", wants: "a duration", least: 1, most: 1, read: func(l *line, c *config.Credential) (err error) {
		c.Tolerance, err = l.duration(0)
		return err
	}},
}}

func readHMAC(l *line, credential *config.Credential) (err error) {
	if credential.Name, err = l.nonEmpty(0, "header"); err != nil {
		return err
	}
	if credential.Algorithm = l.text(1); !slices.Contains(auth.Algorithms, credential.Algorithm) {
		return l.errf("%w", names.Unknown("hmac algorithm", credential.Algorithm, auth.Algorithms, ""))
	}
	if credential.Values, err = l.secrets(2); err != nil {
		return err
	}
	_, err = hmacLevel.read(l.d, credential)
	return err
}

func readCredential(l *line, source *config.Source) error {
	credential := config.Credential{Kind: l.text(0)}
	if err := credentialKinds.pick(l, &credential); err != nil {
		return err
	}
	all := append(slices.Clone(source.Auth), credential)
	if err := auth.CheckOpen(all); err != nil {
		return l.errf("%w", err)
	}
	source.Auth = all
	return nil
}
