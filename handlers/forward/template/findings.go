package template

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// problem is a mistake in a part of an action.
type problem struct{ place, text string }

// findings are the problems of an action's variants: of each one the tenants
// that have it, "" standing for those without a value of their own.
type findings struct {
	order   []problem
	tenants map[problem][]string
}

func (f *findings) add(tenant string, problems []problem) {
	for _, p := range problems {
		if f.tenants == nil {
			f.tenants = map[problem][]string{}
		}
		if _, known := f.tenants[p]; !known {
			f.order = append(f.order, p)
		}
		f.tenants[p] = append(f.tenants[p], tenant)
	}
}

// report tells what was found in an action with a number of variants.
func (f *findings) report(c *actionCompiler, w *writtenAction, variants int) {
	for _, p := range f.order {
		place := p.place
		if tenants := f.tenants[p]; len(tenants) < variants {
			place += ", with " + strings.Join(w.tenantTags(p.place), ", ") + " for " + nameTenants(tenants)
		}
		c.fail(place, errors.New(p.text))
	}
}

// nameTenants names tenants, a few of them at most.
func nameTenants(tenants []string) string {
	const most = 3
	named := slices.DeleteFunc(slices.Clone(tenants), func(tenant string) bool { return tenant == "" })
	others := len(named) < len(tenants)
	var text string
	switch more := len(named) - most; {
	case len(named) == 0:
		return "tenants without a value of their own"
	case more > 0:
		text = fmt.Sprintf("tenants %s and %d more", strings.Join(named[:most], ", "), more)
	case len(named) > 1:
		text = "tenants " + strings.Join(named, ", ")
	default:
		text = "tenant " + named[0]
	}
	if others {
		text += " and those without a value of their own"
	}
	return text
}

// tenantTags returns the expressions in a part of the action that have values by
// tenant, each once. If the part has none, all in the action are returned: one
// part can depend on another.
func (w *writtenAction) tenantTags(place string) []string {
	var here, all []string
	for _, text := range w.texts() {
		for _, p := range text.pieces {
			if p.tag == nil || !p.tag.expression.Trusted() || len(p.tag.expression.Tenants()) == 0 {
				continue
			}
			all = append(all, p.tag.source)
			if text.place == place {
				here = append(here, p.tag.source)
			}
		}
	}
	if len(here) == 0 {
		here = all
	}
	slices.Sort(here)
	return slices.Compact(here)
}
