//go:build linux

// Package chaos has the code of the chaos soak: the handlers of a plugin that
// dies in many ways, and the callers that check its host's promises. Begin with
// [NewPlugin] and [Start].
package chaos

import (
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/protocol"
)

// Protocol is the plugin's protocol. A plugin on go-plugin serves Echo only.
var Protocol = protocol.New("plugwire.e2e.chaos", 1, &echopb.Echo_ServiceDesc, &duplexpb.Duplex_ServiceDesc)

// Files that the plugin and its callers write, in the directory that EnvDir names.
const (
	EnvDir = "CHAOS_DIR"

	ledgerFile = "ledger" // numbers that the plugin has written before it answered, one on each line
	ackedFile  = "acked"  // numbers whose writes callers saw acknowledged
	linesFile  = "lines"  // how many lines the plugin has printed, 8 bytes
)

// linePrefix begins each line that the plugin prints; a number and a full stop follow.
const linePrefix = "chaos line "
