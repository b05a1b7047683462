package goplugin

import (
	"runtime/debug"
	"testing"
)

// TestFrameworksIn reads frameworks from build information.
func TestFrameworksIn(t *testing.T) {
	module := func(path, version string) *debug.Module { return &debug.Module{Path: path, Version: version} }
	replaced := func(version string, by debug.Module) *debug.Module {
		m := module(goPluginPath, version)
		m.Replace = &by
		return m
	}
	other := module("google.golang.org/grpc", "v1.9.0")
	for _, tt := range []struct {
		name       string
		deps       []*debug.Module
		known      bool
		ownTempDir bool // the socket is not in the host's directory
		plugwire   bool
	}{
		{name: "none", deps: []*debug.Module{other}},
		{name: "SPIRE's SDK", deps: []*debug.Module{module(goPluginPath, "v1.4.0"), other}, known: true, ownTempDir: true},
		{name: "the oldest", deps: []*debug.Module{module(goPluginPath, "v0.0.0-20190220160451-3f118e8ee104")}, known: true, ownTempDir: true},
		{name: "before modules had minor releases", deps: []*debug.Module{module(goPluginPath, "v1.0.1")}, known: true, ownTempDir: true},
		{name: "the first with a directory", deps: []*debug.Module{module(goPluginPath, "v1.5.0")}, known: true},
		{name: "two digits", deps: []*debug.Module{module(goPluginPath, "v1.10.2")}, known: true},
		{name: "a release candidate", deps: []*debug.Module{module(goPluginPath, "v1.4.11-rc1")}, known: true, ownTempDir: true},
		{name: "one to come", deps: []*debug.Module{module(goPluginPath, "v2.0.0+incompatible")}, known: true},
		{name: "a fork", deps: []*debug.Module{replaced("v1.4.0", debug.Module{Path: "example.com/fork", Version: "v1.6.0"})}, known: true},
		{name: "a directory", deps: []*debug.Module{replaced("v1.4.0", debug.Module{Path: "../go-plugin"})}, known: true, ownTempDir: true},
		{name: "a working tree", deps: []*debug.Module{module(goPluginPath, "(devel)")}},
		{name: "no version", deps: []*debug.Module{module(goPluginPath, "")}},
		{name: "not numbers", deps: []*debug.Module{module(goPluginPath, "v1.x.0")}},
		{name: "beside Plugwire", deps: []*debug.Module{module(goPluginPath, "v1.8.0"), module(corePath, "v1.0.0")}},
		{name: "Plugwire", deps: []*debug.Module{other, module(corePath, "v1.0.0")}, plugwire: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := frameworksIn(&debug.BuildInfo{Deps: tt.deps})
			if known := f.OnlyGoPlugin(); known != tt.known || known && f.Release.UsesSocketDir() == tt.ownTempDir || f.OnlyPlugwire() != tt.plugwire {
				t.Errorf("%+v", f)
			}
		})
	}
}
