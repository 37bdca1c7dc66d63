package template

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/internal/config"
)

// What is wrong with order_by is found when the configuration is loaded.
func TestOrderByLoadErrors(t *testing.T) {
	load := func(by string) error {
		_, err := Compile([]config.Action{{Name: "a", Place: "Caddyfile:7", Method: "POST", URL: "http://h/{{body.id}}", OrderBy: by}}, testLanguage(t), Settings{})
		return err
	}
	for by, want := range map[string]string{
		"body.id ==":       "action a, order_by: ",
		"{{body.id}}":      "action a, order_by: ",
		"verbatim(source)": "action a, order_by: ",
	} {
		if err := load(by); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", by, err)
		}
	}
	var undefined *undefinedError
	if err := load("calleri_id + studio_hots"); !errors.As(err, &undefined) || len(undefined.Names) != 2 ||
		undefined.Names[0].Place != "order_by" || undefined.Names[1].Meant[0] != "studio_host" {
		t.Errorf("undefined names: %v", err)
	}
	if err := load("body.id"); err != nil {
		t.Error(err)
	}
}
