package control

import "runtime/debug"

const corePath = "github.com/plugwire/plugwire/core"

// Version returns the version of the core module that this program was built
// with, "(devel)" when it was built from a working tree.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == corePath {
				return m.Version
			}
		}
	}
	return "(devel)"
}
