package control

import "runtime/debug"

const corePath = "github.com/plugwire/plugwire/core"

// Version returns the version of the core module in this program. It is "(devel)" in a
// program that was built from a working tree.
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
