package caddymodule

import (
	"runtime/debug"
	"testing"
)

func TestVersionOfEachKindOfBuild(t *testing.T) {
	relay := debug.Module{Path: modulePath}
	of := func(version string, replace *debug.Module) debug.Module {
		module := relay
		module.Version, module.Replace = version, replace
		return module
	}
	for _, test := range []struct {
		name string
		main debug.Module
		dep  debug.Module
		want string
	}{
		{"own main, from a checkout", of("v0.0.0-20261128002614-94614bd1a2b3+dirty", nil), debug.Module{}, "v0.0.0-20261128002614-94614bd1a2b3+dirty"},
		{"own main, version control not asked", of("(devel)", nil), debug.Module{}, ""},
		{"xcaddy, a release", debug.Module{Path: "caddy"}, of("v1.2.0", nil), "v1.2.0"},
		{"xcaddy, a checkout", debug.Module{Path: "caddy"}, of("v0.0.0-00010101000000-000000000000", &debug.Module{Path: "/src"}), ""},
		{"xcaddy, a fork", debug.Module{Path: "caddy"}, of("v1.2.0", &debug.Module{Path: "example.org/fork", Version: "v1.2.1"}), "v1.2.1"},
		{"another program", debug.Module{Path: "caddy"}, debug.Module{}, ""},
	} {
		info := &debug.BuildInfo{Main: test.main, Deps: []*debug.Module{&test.dep}}
		if got := versionIn(info); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

func TestLinkerNamesTheBuild(t *testing.T) {
	build = "v0.0.0-20261128002614-94614bd1a2b3"
	defer func() { build = "" }()
	if got := Version(); got != build {
		t.Errorf("the version is %q", got)
	}
}
