package names

import (
	"os"
	"path/filepath"
	"strings"
)

// program is what this program was started as. A package installs it beside
// another Caddy under another name, and there a hint that says "caddy" would name
// the wrong program.
var program = programOf(os.Args[0])

func programOf(started string) string {
	name := strings.TrimSuffix(filepath.Base(started), ".exe")
	// Programs of Go's tests have the name that the manual has.
	if started == "" || strings.HasSuffix(name, ".test") {
		return "caddy"
	}
	return name
}

// Program returns the name of this program as it is typed: caddy, or how it was
// called when it was installed.
func Program() string { return program }

// Command returns a command of the relay as it is typed, with its arguments:
// "caddy event-relay show ID". Each message that names a command has it from here.
func Command(arguments string) string { return program + " event-relay " + arguments }

// InText puts the name of this program into a text for people that is written
// with commands of "caddy": help, and the console's page.
func InText(text string) string {
	return strings.NewReplacer("caddy event-relay", program+" event-relay", "'caddy ", "'"+program+" ").Replace(text)
}
