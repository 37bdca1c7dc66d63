package command

import "testing"

// FuzzParseCase holds that no file makes the parser of cases panic, and that a case
// without an expectation is none.
func FuzzParseCase(f *testing.F) {
	f.Add([]byte("# given: time 2026-03-13 21:00\n# expect: request a b\nPOST /l\n\n{}"))
	f.Add([]byte("#expect:status 9\r\n\r\nGET /"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c, err := parseCase(raw)
		if err == nil && len(c.events)+len(c.verdicts)+len(c.actions)+len(c.requests)+c.status == 0 {
			t.Errorf("%q expects nothing", raw)
		}
	})
}
