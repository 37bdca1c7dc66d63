package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"time"

	// The zones are built in, because a minimal container has none: the same
	// configuration would load on one machine and be refused on another. They
	// add half a megabyte to the program; zones that the system has go first,
	// so that its updates count.
	_ "time/tzdata"
)

// Timezone returns the time zone of that name. It refuses "Local", because that is
// one zone on the machine and another in a container on it.
func Timezone(name string) (*time.Location, error) {
	location, err := time.LoadLocation(name)
	if err != nil || name == "" || name == "Local" {
		return nil, fmt.Errorf("%q is not a time zone; write its name in the IANA time zone database, such as Europe/London or UTC", name)
	}
	return location, nil
}

// Location returns the time zone of the relay. doubt is empty unless the zone is
// the machine's and the machine does not say which: a sentence for people, with
// the remedy.
func (r *Relay) Location() (zone *time.Location, doubt string, err error) {
	if r.Timezone == "" {
		tz, isSet := os.LookupEnv("TZ")
		zone, doubt = machineTimezone(tz, isSet, "/etc/localtime")
		return zone, doubt, nil
	}
	zone, err = Timezone(r.Timezone)
	return zone, "", err
}

// machineTimezone returns the time zone of a machine with that TZ and the file that
// stands for its zone. time.Local is the same, but it has no name where the file has
// one, it is UTC without a word where TZ names nothing, and it is UTC where the file
// is a link to zones that a container does not have.
func machineTimezone(tz string, isSet bool, file string) (zone *time.Location, doubt string) {
	const remedy = "so times are in UTC; write timezone Europe/London or the like in the event_relay block, or timezone UTC if that is meant"
	name := strings.TrimPrefix(tz, ":")
	switch {
	case isSet && name == "":
		return time.UTC, ""
	case strings.HasPrefix(name, "/"):
		file = name
	case isSet:
		zone, err := Timezone(name)
		if err != nil {
			return time.UTC, fmt.Sprintf("the environment variable TZ is %q, which is not the name of a time zone, %s", tz, remedy)
		}
		return zone, ""
	case runtime.GOOS == "windows":
		return time.Local, ""
	}
	if link, err := os.Readlink(file); err == nil {
		if _, name, isZone := strings.Cut(link, "zoneinfo/"); isZone {
			if zone, err := Timezone(name); err == nil {
				return zone, ""
			}
		}
	}
	switch _, err := os.Stat(file); {
	case errors.Is(err, fs.ErrNotExist) && isSet:
		return time.UTC, fmt.Sprintf("the environment variable TZ is %q, and there is no such file, %s", tz, remedy)
	case errors.Is(err, fs.ErrNotExist):
		return time.UTC, "this machine names no time zone, neither in the environment variable TZ nor in " + file + ", " + remedy
	}
	return time.Local, ""
}
