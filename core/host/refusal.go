package host

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// NotBegun reports whether err is of a call that certainly has not begun: no handler of
// the plugin has seen it. Such a call can be repeated, at another plugin or later,
// whatever it does. The plugin refused it because it is shutting down or because of a
// limit (plugin.WithMaxCalls, plugin.WithMaxBuffered), or this host never sent it
// because the plugin had ended.
//
// For any other error the handler may have run: repeat the call only if doing it twice
// does no harm. NotBegun works on the errors of interceptors too, and on errors that
// were made of a status. In gRPC's terms the call is unprocessed.
func NotBegun(err error) bool { return calls.NotBegun(err) }

// NotSent returns the status, with codes.Unavailable, of a call that was never sent:
// [NotBegun] reports true for its error. It is for code between callers and plugins that
// refuses a call itself.
func NotSent(message string) *status.Status { return calls.NotSent(codes.Unavailable, message) }
