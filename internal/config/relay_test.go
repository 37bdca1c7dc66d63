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
