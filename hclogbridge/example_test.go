package hclogbridge_test

import (
	"log/slog"
	"os"

	"github.com/hashicorp/go-hclog"

	"github.com/plugwire/plugwire/hclogbridge"
)

// A host whose program logs with hclog passes such a logger to host.WithLogger.
func ExampleNewHandler() {
	logger := hclog.New(&hclog.LoggerOptions{Name: "app", Output: os.Stdout, DisableTime: true})
	slog.New(hclogbridge.NewHandler(logger)).Warn("low disk", "plugin", "disk", slog.Group("free", "bytes", 3))
	// Output: [WARN]  app: low disk: plugin=disk free.bytes=3
}

// A library that takes an hclog.Logger writes to the log of slog.
func ExampleNewLogger() {
	withoutTime := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	handler := slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{ReplaceAttr: withoutTime})
	hclogbridge.NewLogger(handler).Named("raft").Warn("low disk", "free", 3)
	// Output: level=WARN msg="low disk" logger=raft free=3
}
