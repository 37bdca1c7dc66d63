package queue

import "testing"

func TestMend(t *testing.T) {
	for name, c := range map[string]struct {
		deliveries []DeliveryState
		want       []State
	}{
		"nothing":                {nil, nil},
		"itself, by mistake":     {[]DeliveryState{{ID: "a", Of: "a", State: Delivered}}, []State{Delivered}},
		"a circle":               {[]DeliveryState{{ID: "a", Of: "c", State: Failed}, {ID: "b", Of: "a", State: Expired}, {ID: "c", Of: "b", State: Delivered}}, []State{Mended, Mended, Delivered}},
		"one of another event":   {[]DeliveryState{{ID: "a", State: Failed}, {ID: "b", Of: "z", State: Delivered}}, []State{Failed, Delivered}},
		"over one that arrived":  {[]DeliveryState{{ID: "a", State: Failed}, {ID: "b", Of: "a", State: Delivered}, {ID: "c", Of: "b", State: Delivered}}, []State{Mended, Delivered, Delivered}},
		"over one that waits":    {[]DeliveryState{{ID: "a", State: Failed}, {ID: "b", Of: "a", State: Pending}, {ID: "c", Of: "b", State: Delivered}}, []State{Mended, Pending, Delivered}},
		"in any order":           {[]DeliveryState{{ID: "b", Of: "a", State: Delivered}, {ID: "a", State: Cancelled}}, []State{Delivered, Mended}},
		"repeated, to no effect": {[]DeliveryState{{ID: "a", State: Failed}, {ID: "b", Of: "a", State: Failed}}, []State{Failed, Failed}},
	} {
		Mend(c.deliveries)
		for i, d := range c.deliveries {
			if d.Standing() != c.want[i] {
				t.Errorf("%s: delivery %d is %s, want %s", name, i, d.Standing(), c.want[i])
			}
		}
	}
}
