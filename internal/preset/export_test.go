package preset

import "testing"

// Add makes a preset known for the time of a test.
func Add(t *testing.T, p Preset) {
	before := presets
	presets = append(presets[:len(presets):len(presets)], p)
	t.Cleanup(func() { presets = before })
}
