package config

import (
	"fmt"
	"time"

	// The zones are built in, because a minimal container has none: the same
	// configuration would load on one machine and be refused on another. They
	// add half a megabyte to the program; zones that the system has go first,
	// so that its updates count.
	_ "time/tzdata"
)

// Timezone returns the time zone of that name. "Local" is none: it would be
// another one in a container than beside it.
func Timezone(name string) (*time.Location, error) {
	location, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fmt.Errorf("%q is not a time zone; write its name in the IANA time zone database, such as Europe/London or UTC", name)
	}
	return location, nil
}
