package plugin

import (
	"os"
	"slices"
	"strings"
	"time"
)

// keepVariable is the environment variable that keeps ways of go-plugin which this module has
// changed on purpose: a list of the names below, separated by commas. A host passes it on to
// its plugins.
const keepVariable = "PLUGWIRE_GOPLUGIN_KEEP"

const (
	// keepHostEnv lets the host's environment override ClientConfig.Cmd.Env.
	keepHostEnv = "hostenv"
	// keepStdin gives the plugin the host's standard input.
	keepStdin = "stdin"
	// keepInPlace runs the program of a SecureConfig in its place, which can have changed.
	keepInPlace = "inplace"
	// keepAnyUser accepts a plugin on a unix socket that runs as another user.
	keepAnyUser = "anyuser"
	// keepOutlive starts plugins that outlive their host, in the group of the host. Another
	// host can reattach to them.
	keepOutlive = "outlive"
	// keepGrace gives Kill the two seconds of go-plugin.
	keepGrace = "grace"
)

// keeps reports whether a way of go-plugin is kept.
func keeps(way string) bool {
	return slices.ContainsFunc(strings.Split(os.Getenv(keepVariable), ","), func(item string) bool {
		return strings.TrimSpace(item) == way
	})
}

const (
	// killGrace is how long Kill lets a plugin finish before it ends the plugin by force.
	killGrace = 10 * time.Second
	// keptGrace is go-plugin's.
	keptGrace = 2 * time.Second
)

// levelVariable is the environment variable by which a host tells its plugins the level of
// its logger.
const levelVariable = "PLUGWIRE_GOPLUGIN_LEVEL"
