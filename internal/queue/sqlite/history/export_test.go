package history

import "testing"

// TenantWindow is how many events are gone through for one of a tenant at a time.
const TenantWindow = tenantWindow

// WithoutSearchTime lets pages search no longer than they must.
func WithoutSearchTime(t *testing.T) {
	page, text := pageTime, textTime
	t.Cleanup(func() { pageTime, textTime = page, text })
	pageTime, textTime = 0, 0
}
