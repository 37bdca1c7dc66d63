package caddymodule

import "runtime/debug"

// modulePath is the module whose version names the relay.
const modulePath = "github.com/caddy-event-relay/event-relay"

// version returns the relay's version, such as v1.2.0, or "" when the build
// does not tell.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, module := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if module.Path == modulePath && module.Version != "" && module.Version[0] == 'v' {
			return module.Version
		}
	}
	return ""
}

// userAgent returns what requests to targets call themselves:
// event-relay/VERSION, or event-relay alone when the build does not tell.
func userAgent() string {
	if version := version(); version != "" {
		return "event-relay/" + version
	}
	return "event-relay"
}
