package config

import (
	"reflect"
	"testing"
)

func TestRelayDefaults(t *testing.T) {
	targets := []string{"private_ranges", "loopback"}
	for _, test := range []struct{ given, want Relay }{
		{
			Relay{},
			Relay{Retention: &Retention{Age: 30 * 24 * 3600e9, Size: 2 << 30}, Targets: targets, MaxPending: 1_000_000, MinFree: 256 << 20},
		},
		{
			Relay{Retention: &Retention{Age: 5}, Targets: []string{}, MaxPending: 5, MinFree: 1 << 30},
			Relay{Retention: &Retention{Age: 5, Size: 2 << 30}, Targets: targets, MaxPending: 5, MinFree: 1 << 30},
		},
		{
			Relay{Disabled: true, Retention: &Retention{Size: 5}, Targets: []string{"10.0.0.1"}, MinFree: MinFreeOff},
			Relay{Disabled: true, Retention: &Retention{Age: 30 * 24 * 3600e9, Size: 5}, Targets: []string{"10.0.0.1"}, MaxPending: 1_000_000, MinFree: MinFreeOff},
		},
	} {
		if got := test.given.WithDefaults(); !reflect.DeepEqual(got, test.want) {
			t.Errorf("%+v becomes %+v, want %+v", test.given, got, test.want)
		}
	}
	given := Retention{Age: 5}
	if (Relay{Retention: &given}).WithDefaults(); given.Size != 0 {
		t.Error("the configuration itself was changed")
	}
}

func TestParseIsStrict(t *testing.T) {
	for text, want := range map[string]string{
		`{"max_pending": 5, "sources": [{"name": "erp"}]}`: "",
		`{"sauces": []}`:                 `json: unknown field "sauces"`,
		`{"sources": [{"nmae": "erp"}]}`: `json: unknown field "nmae"`,
		`{"max_pending": x}`:             "invalid character 'x' looking for beginning of value, at offset 17",
		`[]`:                             "json: cannot unmarshal array into Go value of type config.Relay",
		``:                               "EOF",
	} {
		settings, err := Parse([]byte(text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s gives %q, want %q", text, got, want)
		}
		if err == nil && (settings.MaxPending != 5 || settings.Sources[0].Name != "erp") {
			t.Errorf("%s gives %+v", text, settings)
		}
	}
}
