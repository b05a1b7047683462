package plugin

import "github.com/plugwire/plugwire/core/internal/rpc/calls"

// NotBegun reports whether err is of a call to the host ([Host]) that certainly has not
// begun: no handler of the host has seen it. Such a call can be repeated, whatever it
// does. For any other error the handler may have run. See host.NotBegun, which is the
// same for calls of the host.
//
// A handler may return such an error to its caller. The caller sees the error without
// that property, because the handler itself has begun.
func NotBegun(err error) bool { return calls.NotBegun(err) }
