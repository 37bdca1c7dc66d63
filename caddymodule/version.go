package caddymodule

import "runtime/debug"

// modulePath is the module whose version names the relay.
const modulePath = "github.com/caddy-event-relay/event-relay"

// build names the commit of a program whose build information cannot: xcaddy
// puts a checkout into a module of its own, of which Go notes neither revision
// nor time. xcaddy.md shows how the linker sets it.
var build string

// Version returns which Event Relay this program was built from: a release such
// as v1.2.0, or for a checkout a version such as
// v0.0.0-20261128002614-94614bd1a2b3+dirty, which has the time of the commit,
// its revision, and whether files were changed. It is empty when the build does
// not tell, as when Go was told not to ask the version control (-buildvcs=false).
func Version() string {
	if build != "" {
		return build
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return versionIn(info)
}

// versionIn returns the version that a program's build information has for the
// relay. A directory that replaces the module has a made-up version, which would
// name nothing.
func versionIn(info *debug.BuildInfo) string {
	for _, module := range append([]*debug.Module{&info.Main}, info.Deps...) {
		if module.Path != modulePath {
			continue
		}
		if module.Replace != nil {
			module = module.Replace
		}
		if module.Version != "" && module.Version[0] == 'v' {
			return module.Version
		}
	}
	return ""
}
