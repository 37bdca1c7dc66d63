package config

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// DeliverySetting is a setting of an action that says how its requests are
// delivered. The table of them is what printers of actions go by.
type DeliverySetting struct {
	// Name is what the Caddyfile calls it.
	Name string

	// Without is what a list says of an action that does not have it. Empty means
	// that a list leaves it out.
	Without string

	// OfRequests says that a mail cannot have it.
	OfRequests bool

	// Secret says that the arguments are secrets.
	Secret bool

	// Arguments returns what follows the name in a Caddyfile, nil if the setting
	// is not given. An error says why a Caddyfile cannot say it; the arguments are
	// then for people.
	Arguments func(a *Action) ([]string, error)

	check      func(a *Action) error
	setDefault func(a *Action)
}

// The defaults of the settings.
const (
	defaultTimeout     = Duration(10 * time.Second)
	defaultSuccess     = "2xx"
	defaultRetryFor    = Duration(24 * time.Hour)
	defaultRetryFirst  = Duration(time.Second)
	defaultRetryCap    = Duration(5 * time.Minute)
	defaultConcurrency = 8
)

// DeliverySettings are the delivery settings, in the order of the manual.
var DeliverySettings = []DeliverySetting{
	{
		Name:       "timeout",
		Arguments:  func(a *Action) ([]string, error) { return duration(a.Timeout), nil },
		check:      func(a *Action) error { return checkSign("it", time.Duration(a.Timeout)) },
		setDefault: func(a *Action) { a.Timeout = cmp.Or(a.Timeout, defaultTimeout) },
	},
	{
		Name:       "success",
		OfRequests: true,
		Arguments:  func(a *Action) ([]string, error) { return a.Success, nil },
		check: func(a *Action) error {
			_, err := ParseStatuses(a.Success)
			return err
		},
		setDefault: func(a *Action) {
			if len(a.Success) == 0 && a.Mail == nil {
				a.Success = []string{defaultSuccess}
			}
		},
	},
	{
		Name: "retry_for",
		Arguments: func(a *Action) ([]string, error) {
			if a.RetryFor < 0 {
				return []string{"off"}, nil
			}
			return duration(a.RetryFor), nil
		},
		check: func(a *Action) error {
			if a.RetryFor == RetryOff {
				return nil
			}
			return checkSign("it", time.Duration(a.RetryFor))
		},
		setDefault: func(a *Action) { a.RetryFor = cmp.Or(a.RetryFor, defaultRetryFor) },
	},
	{
		Name: "retry_interval",
		Arguments: func(a *Action) (arguments []string, err error) {
			if a.RetryInterval == nil {
				return nil, nil
			}
			arguments = append(duration(a.RetryInterval.First), duration(a.RetryInterval.Cap)...)
			if len(arguments) == 1 {
				err = errors.New("a Caddyfile says both the first pause and the longest, or neither")
			}
			return arguments, err
		},
		check: func(a *Action) error {
			interval := a.RetryInterval
			if interval != nil && (interval.First < 0 || interval.Cap < 0 || interval.First > 0 && interval.Cap > 0 && interval.Cap < interval.First) {
				return fmt.Errorf("it must be two durations, the first not longer than the second, not %s and %s", interval.First, interval.Cap)
			}
			return nil
		},
		setDefault: func(a *Action) {
			var interval RetryInterval
			if a.RetryInterval != nil {
				interval = *a.RetryInterval
			}
			// A first pause or a cap that is given alone must not clash with the
			// other's default.
			if interval.First == 0 {
				interval.First = min(defaultRetryFirst, cmp.Or(interval.Cap, defaultRetryCap))
			}
			interval.Cap = cmp.Or(interval.Cap, max(defaultRetryCap, interval.First))
			a.RetryInterval = &interval
		},
	},
	{
		Name: "concurrency",
		Arguments: func(a *Action) ([]string, error) {
			if a.Concurrency == 0 {
				return nil, nil
			}
			return []string{strconv.Itoa(a.Concurrency)}, nil
		},
		check:      func(a *Action) error { return checkSign("it", a.Concurrency) },
		setDefault: func(a *Action) { a.Concurrency = cmp.Or(a.Concurrency, defaultConcurrency) },
	},
	{
		Name:    "rate",
		Without: "no bound",
		Arguments: func(a *Action) ([]string, error) {
			if a.Rate == nil {
				return nil, nil
			}
			for _, unit := range RateUnits {
				if a.Rate.Per == unit.Per {
					return []string{fmt.Sprintf("%d/%s", a.Rate.Count, unit.Name)}, nil
				}
			}
			return []string{fmt.Sprintf("%d/%s", a.Rate.Count, a.Rate.Per)},
				fmt.Errorf("a Caddyfile counts by the second, minute or hour, not by %s", a.Rate.Per)
		},
		check: func(a *Action) error {
			if a.Rate != nil && (a.Rate.Count <= 0 || a.Rate.Per <= 0) {
				return errors.New("it needs a count and a time, per, that are above zero")
			}
			return nil
		},
	},
	{
		Name: "one_node",
		Arguments: func(a *Action) ([]string, error) {
			if !a.OneNode {
				return nil, nil
			}
			return []string{}, nil
		},
	},
	{
		Name:      "expires",
		Without:   "never",
		Arguments: func(a *Action) ([]string, error) { return duration(a.Expires), nil },
		check:     func(a *Action) error { return checkSign("it", time.Duration(a.Expires)) },
	},
	{
		Name:      "order_by",
		Without:   "in any order",
		Arguments: func(a *Action) ([]string, error) { return oneArgument(a.OrderBy), nil },
	},
	{
		Name:       "sign",
		Without:    "not signed",
		OfRequests: true,
		Secret:     true,
		Arguments:  func(a *Action) ([]string, error) { return a.Sign, nil },
		check: func(a *Action) error {
			for _, secret := range a.Sign {
				if err := CheckSigning(secret); err != nil {
					return err
				}
			}
			return nil
		},
	},
	// These have the names that the transport of Caddy's reverse_proxy gives them.
	// TLS.Check finds what is wrong with them.
	{
		Name: "tls_trust_pool",
		Arguments: ofTLS(func(t *TLS) ([]string, error) {
			if len(t.CAFiles) == 0 {
				return nil, nil
			}
			return append([]string{"file"}, t.CAFiles...), nil
		}),
	},
	{
		Name: "tls_client_auth",
		Arguments: ofTLS(func(t *TLS) ([]string, error) {
			if t.ClientCertificateFile == "" {
				return nil, nil
			}
			return []string{t.ClientCertificateFile, t.ClientCertificateKeyFile}, nil
		}),
	},
	{
		Name:      "tls_server_name",
		Arguments: ofTLS(func(t *TLS) ([]string, error) { return oneArgument(t.ServerName), nil }),
	},
	{
		Name:      "tls_pin",
		Arguments: ofTLS(func(t *TLS) ([]string, error) { return t.Pins, nil }),
	},
	{
		Name: "tls_protocols",
		Arguments: ofTLS(func(t *TLS) (arguments []string, err error) {
			if t.ProtocolMax != "" && t.ProtocolMin == "" {
				err = errors.New("a Caddyfile says the lowest version with the highest")
			}
			return append(oneArgument(t.ProtocolMin), oneArgument(t.ProtocolMax)...), err
		}),
	},
	{
		Name: "tls_insecure_skip_verify",
		Arguments: ofTLS(func(t *TLS) ([]string, error) {
			if !t.InsecureSkipVerify {
				return nil, nil
			}
			return []string{}, nil
		}),
	},
}

// RateUnits are the times that a Caddyfile counts a rate by.
var RateUnits = []struct {
	Name string
	Per  Duration
}{{"s", Duration(time.Second)}, {"m", Duration(time.Minute)}, {"h", Duration(time.Hour)}}

// duration returns the argument of a duration, none for zero.
func duration(d Duration) []string {
	if d == 0 {
		return nil
	}
	return []string{d.String()}
}

// oneArgument returns a text as an argument, none if it is empty.
func oneArgument(text string) []string {
	if text == "" {
		return nil
	}
	return []string{text}
}

// ofTLS returns the arguments of a setting of TLS.
func ofTLS(arguments func(t *TLS) ([]string, error)) func(a *Action) ([]string, error) {
	return func(a *Action) ([]string, error) {
		if a.TLS == nil {
			return nil, nil
		}
		return arguments(a.TLS)
	}
}
