package e2e_test

import (
	"encoding/json"
	"net/http"
	"testing"
)

// TestConsoleNamesWhatIsWrong: the answer to a wrong filter names the field.
func TestConsoleNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := openStudio(t)
	for query, field := range map[string]string{
		"activity?since=whenever":            "since",
		"activity?until=2026-02-30":          "until",
		"activity?verdict=perhaps":           "verdict",
		"activity?state=lost":                "state",
		"activity?after=%00":                 "after",
		"activity?n=0":                       "n",
		"activity?n=1000000000":              "n",
		"activity?colour=red":                "colour",
		"activity?text=%ff":                  "text",
		"live?since=whenever":                "since",
		"series?since=today&until=yesterday": "since",
		"series?n=-1":                        "n",
	} {
		response, err := http.Get(s.console + "/api/" + query)
		if err != nil {
			t.Fatal(err)
		}
		var told struct{ Error, Field string }
		err = json.NewDecoder(response.Body).Decode(&told)
		response.Body.Close()
		if response.StatusCode != http.StatusBadRequest || err != nil || told.Field != field || told.Error == "" {
			t.Errorf("%s: %d %+v %v, want 400 and the field %q", query, response.StatusCode, told, err, field)
		}
	}
}
