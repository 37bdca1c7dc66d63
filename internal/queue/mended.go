package queue

// Mend sets MendedBy of those deliveries of one event that are mended. A delivery is
// mended if it failed, expired or was cancelled, and one that repeats it was
// delivered: directly, or by repeating another that repeats it. The failure is
// settled then; it is not counted any more and needs nothing to be done.
//
// The history has it so from the moment on at which the later one is delivered, also
// after a restart, in a backup, and when that is merged.
func Mend(deliveries []DeliveryState) {
	for i := range deliveries {
		arrived := &deliveries[i]
		if arrived.State != Delivered {
			continue
		}
		// What is stored may repeat itself by mistake: as many steps as there are
		// deliveries reach all.
		of := arrived.Of
		for steps := len(deliveries); of != "" && steps > 0; steps-- {
			repeated := find(deliveries, of)
			if repeated == nil {
				break
			}
			if repeated.State != Pending && repeated.State != Delivered && repeated.MendedBy == "" {
				repeated.MendedBy = arrived.ID
			}
			of = repeated.Of
		}
	}
}

func find(deliveries []DeliveryState, id string) *DeliveryState {
	for i := range deliveries {
		if deliveries[i].ID == id {
			return &deliveries[i]
		}
	}
	return nil
}

// Standing returns the state as filters, counts and lists have it: Mended for a
// delivery that is mended, else its own.
func (d *DeliveryState) Standing() State {
	if d.MendedBy != "" {
		return Mended
	}
	return d.State
}

// Arrived reports whether the target has taken what the delivery was for: it was
// delivered, or is mended.
func (d *DeliveryState) Arrived() bool { return d.State == Delivered || d.MendedBy != "" }
