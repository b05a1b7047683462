package calls

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/stats"

	"github.com/plugwire/plugwire/core/internal/meter"
)

// ClientConfig says how a [Client] makes calls.
type ClientConfig struct {
	// Side and Other are the names of this side and of the other in errors.
	Side, Other string
	// Target is the other side's name in the target of the connection, which
	// interceptors see; Other if it is empty.
	Target string
	// MaxMessageSize in bytes.
	MaxMessageSize int
	// Buffered bounds the answers that this side holds before their callers read them, as
	// [Limits] does for the other side's calls. The wire h2 does not need it.
	Buffered int
	// Unary and Stream intercept the application's calls, the first outermost.
	Unary  []grpc.UnaryClientInterceptor
	Stream []grpc.StreamClientInterceptor
	// Stats see the application's calls.
	Stats []stats.Handler
	// Meter, if set, counts the application's calls.
	Meter *meter.Meter
	// DialOptions are for the connection of the wire h2. The wire's own have precedence.
	DialOptions []grpc.DialOption
	// IsControl reports whether a method is one of the framework's own.
	IsControl func(fullMethod string) bool
	// Stalled, if set, says what keeps the other side from answering, or "" if the
	// cause is not known. It is called only for a call whose deadline has passed.
	Stalled func() string
	// Logger, if set, takes warnings about what the other side does.
	Logger *slog.Logger
	// Renewal, if set, is for a peer that may end its connection and live on, like
	// servers on go-plugin. If Renewal is nil, the end of the connection is the end of
	// the peer.
	Renewal *Renewal
}

// Renewal says how a lost connection is replaced.
type Renewal struct {
	// Gone returns a channel that is closed when the other side has ended, if that is
	// known by other means than the connection. The owner of the Client then calls Fail.
	// Such a Client is never Lost, and dials when a call needs it. If Gone returns nil, the
	// Client dials at once, and is Lost if it cannot. Gone is called once, after the first
	// stream was opened.
	Gone func() <-chan struct{}
	// Ending, if set, reports whether the system is ending the other side. It closes the
	// connections of a process before the process counts as ended.
	Ending func() bool
}

// ServerConfig says what a [Server] serves.
type ServerConfig struct {
	// Side and Other are the names of this side and of the other in errors.
	Side, Other string
	// MaxMessageSize in bytes.
	MaxMessageSize int
	// Limits bound the other side's calls.
	Limits Limits
	// Application registers the application's services. Their calls are intercepted, and
	// draining waits for them.
	Application func(grpc.ServiceRegistrar) error
	// RequiresServer is set if Application adds services that register themselves on a
	// *grpc.Server ([Guard.RegisterServer]), which only the wire h2 has.
	RequiresServer bool
	// Control registers the framework's own services, which are served until the end. May
	// be nil.
	Control func(Registrar)
	// Unary and Stream intercept the application's calls, the first outermost.
	Unary  []grpc.UnaryServerInterceptor
	Stream []grpc.StreamServerInterceptor
	// Stats see the application's calls.
	Stats []stats.Handler
	// IsControl reports whether a method is one of the framework's own.
	IsControl func(fullMethod string) bool
	// DrainAnswers makes Drain wait until the last answers are sent, for another side that
	// closes the connection when it hears of the end of a drain. Without it, Stop waits for
	// them.
	DrainAnswers bool
	// Logger, if set, takes warnings about what the other side does.
	Logger *slog.Logger
	// OnPanic is called for a panic in a handler, with its stack.
	OnPanic func(ctx context.Context, method string, value any, stack []byte)
}
