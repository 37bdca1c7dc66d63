package postman

import (
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/caddymodule/caddyfile/printer"
	"github.com/caddy-event-relay/event-relay/internal/config"
)

// Caddyfile writes what was imported, undefined parameters on top.
func (r *Import) Caddyfile() (string, error) {
	w := new(printer.Writer)
	w.Comment("From the Postman collection " + cut(oneLine(r.Collection), 80) + ", to be imported into the event_relay block.")
	undefined := slices.IndexFunc(r.Parameters, func(p Parameter) bool { return !p.Undefined })
	if undefined < 0 {
		undefined = len(r.Parameters)
	}
	if undefined > 0 {
		w.Blank()
		w.Comment("Undefined: the collection gives these no value. Fill them in before a rule")
		w.Comment("does one of the actions; what stands here only lets the configuration load.")
		writeParameters(w, r.Parameters[:undefined])
	}
	if undefined < len(r.Parameters) {
		w.Blank()
		w.Comment("From the collection and its environment.")
		writeParameters(w, r.Parameters[undefined:])
	}
	for i := range r.Imported {
		w.Action(&r.Imported[i].Action)
	}
	return w.Text()
}

func writeParameters(w *printer.Writer, parameters []Parameter) {
	for _, p := range parameters {
		if p.From != "" && !strings.HasSuffix(p.Name, p.From) {
			w.Comment("In the collection: " + cut(oneLine(p.From), 80))
		}
		w.Parameter(&config.Parameter{Name: p.Name, Value: p.Value})
	}
}
