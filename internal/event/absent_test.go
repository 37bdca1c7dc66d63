package event

import "testing"

func TestUnreplaced(t *testing.T) {
	for text, want := range map[string]bool{
		"{{call_cost}}": true, "{{ caller_id }}": true, "%CALL_COST%": true, "%TAG1%": true,
		"": false, "%": false, "%%": false, "%%%": false, "{{": false, "{{}}": false, "{{a}": false, "{{a b}}": false, "x{{a}}": false, "{{a}}x": false,
		"{{a}}{{b}}": false, "%call_cost%": false, "%1%": false, "50%": false, "%A B%": false, "100": false, "{a}": false,
	} {
		if Unreplaced(text) != want {
			t.Errorf("%q is unreplaced: %t", text, !want)
		}
	}
}
