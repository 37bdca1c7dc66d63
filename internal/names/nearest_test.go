package names

import "testing"

func TestNormal(t *testing.T) {
	for name, want := range map[string]string{
		"Incoming Call":   "incoming_call",
		" dmg-work START": "dmg_work_start",
		"order.paid":      "order.paid",
		"ÄNDERUNG":        "änderung",
		"":                "",
	} {
		if got := Normal(name); got != want {
			t.Errorf("Normal(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	events := []string{"project_created", "project_comment_added", "incoming_call", "rs_added", "rss_added"}
	for name, want := range map[string]string{
		"project_craeted": "project_created",
		"Project Created": "project_created",
		"incomming_call":  "incoming_call",
		"rs_addd":         "rs_added",
		"weather":         "",
		"":                "",
	} {
		if got := Nearest(name, events); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
	if got := Nearest("x", nil); got != "" {
		t.Errorf("the nearest of nothing is %q", got)
	}
}
