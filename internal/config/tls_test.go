package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestTLSMistakes(t *testing.T) {
	pin := "sha256:" + strings.Repeat("ab", 32)
	for want, setting := range map[string]TLS{
		`"abcd" is no pin`:                  {Pins: []string{"abcd"}},
		`"sha256:zz" is no pin`:             {Pins: []string{"sha256:zz"}},
		`"sha1:` + strings.Repeat("ab", 32): {Pins: []string{"sha1:" + strings.Repeat("ab", 32)}},
		"accepts any: remove":               {Pins: []string{pin}, InsecureSkipVerify: true},
		"remove tls_trust_pool":             {Pins: []string{pin}, CAFiles: []string{"x"}},
		`"1.0" is no version`:               {ProtocolMin: "1.0"},
		"tls1.1, is below the lowest":       {ProtocolMax: "tls1.1"},
		"tls1.2, is below the lowest":       {ProtocolMin: "tls1.3", ProtocolMax: "tls1.2"},
		"name both files or none":           {ClientCertificateFile: "a.pem"},
		"no server name":                    {ServerName: "https://lan"},
	} {
		if err := setting.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func FuzzParsePin(f *testing.F) {
	for _, seed := range []string{"", "sha256:", "sha256:" + strings.Repeat("ab", 32), "sha256:" + strings.Repeat("AB:", 31) + "AB"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		pin, err := ParsePin(text)
		if err != nil {
			return
		}
		if again, err := ParsePin(fmt.Sprintf("sha256:%x", pin)); err != nil || again != pin {
			t.Errorf("%q reads back as %x: %v", text, again, err)
		}
	})
}
