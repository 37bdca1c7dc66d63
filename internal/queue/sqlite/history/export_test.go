package history

import (
	"testing"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/activity"
)

// TenantWindow is how many events are gone through for one of a tenant at a time.
const TenantWindow = tenantWindow

// WithoutSearchTime lets pages search no longer than they must.
func WithoutSearchTime(t *testing.T) {
	t.Cleanup(func() { searchTime = activity.SearchTime })
	searchTime = func(*queue.Filter) time.Duration { return 0 }
}
