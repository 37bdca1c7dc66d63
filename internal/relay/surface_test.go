package relay

import (
	"reflect"
	"testing"
)

// mostMethods bounds the exported methods of Runtime. What reads for people
// belongs to internal/inspect, and what is done again to internal/replay: both
// get along with the generation, the store and the state of a runtime.
const mostMethods = 15

func TestRuntimeIsSmall(t *testing.T) {
	of := reflect.TypeFor[*Runtime]()
	if n := of.NumMethod(); n > mostMethods {
		t.Errorf("a Runtime has %d exported methods, at most %d are to be", n, mostMethods)
		for i := range n {
			t.Log(of.Method(i).Name)
		}
	}
}
