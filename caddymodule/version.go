package caddymodule

import "runtime/debug"

// modulePath is the module whose version names the relay to targets.
const modulePath = "github.com/caddy-event-relay/event-relay"

// userAgent returns what requests to targets call themselves:
// event-relay/VERSION, or event-relay alone when the build does not tell.
func userAgent() string {
	const name = "event-relay"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return name
	}
	modules := append([]*debug.Module{&info.Main}, info.Deps...)
	for _, module := range modules {
		if module.Path == modulePath && module.Version != "" && module.Version[0] == 'v' {
			return name + "/" + module.Version
		}
	}
	return name
}
