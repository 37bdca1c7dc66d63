package event

import "testing"

func TestTenantOfEvent(t *testing.T) {
	for tenant, want := range map[any]string{"200": "200", "": "", nil: "", int64(200): "200"} {
		if got := (&Event{Parameters: Parameters{Tenant: tenant}}).Tenant(); got != want {
			t.Errorf("tenant of %#v is %q", tenant, got)
		}
	}
}
