package names

import "testing"

// TestCheck holds the one alphabet of the names of sources and actions.
func TestCheck(t *testing.T) {
	for name, good := range map[string]bool{
		"icfm": true, "Pbx-2.main_x": true, "a": true, "Z9": true,
		"": false, "3cx": false, "_a": false, "-a": false, ".a": false, "münchen": false, "a b": false, "a:b": false,
		"a,b": false, "a/b": false, "a\x00": false, "ａ": false, "a\xff": false, "К": false,
	} {
		if err := Check("source", name); (err == nil) != good {
			t.Errorf("%q: got %v, want it taken: %v", name, err, good)
		}
	}
}
