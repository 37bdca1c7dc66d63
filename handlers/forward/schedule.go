package forward

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/caddy-event-relay/event-relay/rules/language"
)

// longestOrderKey bounds an order key, in bytes, because it is stored with each
// delivery. A longer one is hashed: keys are only compared.
const longestOrderKey = 128

// Schedule says how a delivery for an event, received at the given time, is to
// be scheduled: the order key that order_by gives (empty for none, also when its
// value is absent) and when the delivery expires (zero for never).
//
// The error says that order_by failed. The delivery then has no order key and is
// sent in any order, because it is not known which deliveries it must wait for. The
// message holds no value of the event.
func (p *Prepared) Schedule(bound *language.Bound, received time.Time) (orderKey string, expires time.Time, err error) {
	if p.action.Expires > 0 {
		expires = received.Add(time.Duration(p.action.Expires))
	}
	if p.action.OrderBy == "" {
		return "", expires, nil
	}
	if orderKey, err = p.OrderKey(bound); err != nil {
		return "", expires, fmt.Errorf("action %s: order_by: %w", p.action.Name, err)
	}
	if len(orderKey) > longestOrderKey {
		sum := sha256.Sum256([]byte(orderKey))
		orderKey = "sha256:" + hex.EncodeToString(sum[:])
	}
	return orderKey, expires, nil
}
