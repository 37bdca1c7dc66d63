package replay

import "time"

// Bounded returns the options with the bounds of a rehearsal, which are smaller here.
func Bounded(options DecideOptions, most int, within time.Duration) DecideOptions {
	options.most, options.within = most, within
	return options
}
