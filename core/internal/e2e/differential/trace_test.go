package differential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
)

// quiet is the logger of both sides: programs make errors on purpose.
var quiet = slog.New(slog.DiscardHandler)

// The names of observers.
const (
	callersStats  = "caller's stats"
	handlersStats = "handler's stats"
	// The reader of the connection makes these, beside the caller.
	receivedHeader  = ", received header"
	receivedTrailer = ", received trailer"
)

// notes are what observers of one call have seen, by observer. Each list has the order in
// which one goroutine makes its entries.
type notes struct {
	mu    sync.Mutex // guards lists
	lists map[string][]string
	muted []string // observers that note no more
}

// mute makes observers note no more.
func (n *notes) mute(observers ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.muted = append(n.muted, observers...)
}

// add adds an entry to the list of an observer.
func (n *notes) add(observer, format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if slices.Contains(n.muted, observer) {
		return
	}
	if n.lists == nil {
		n.lists = make(map[string][]string)
	}
	n.lists[observer] = append(n.lists[observer], fmt.Sprintf(format, args...))
}

// has reports whether an observer has an entry that begins so.
func (n *notes) has(observer, prefix string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.lists[observer], func(entry string) bool { return strings.HasPrefix(entry, prefix) })
}

// lines returns all entries, sorted by observer.
func (n *notes) lines() (all []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, observer := range slices.Sorted(maps.Keys(n.lists)) {
		for _, entry := range n.lists[observer] {
			all = append(all, observer+": "+entry)
		}
	}
	return all
}

// errText returns all that a program can find out about the error of a call.
func errText(err error) string {
	switch err {
	case nil:
		return "ok"
	case io.EOF: //nolint:errorlint // the contract of streams is this value
		return "EOF"
	}
	s, ok := status.FromError(err)
	text := fmt.Sprintf("%v %q", s.Code(), s.Message())
	if !ok {
		text += " (not a status)"
	}
	for _, detail := range s.Details() {
		// The text of a message has one space or two, at random.
		text += fmt.Sprintf(" detail %T %s", detail, strings.Join(strings.Fields(fmt.Sprint(detail)), " ")) //nolint:perfsprint // a few
	}
	if host.NotBegun(err) {
		text += " (not begun)"
	}
	for _, target := range []error{context.Canceled, context.DeadlineExceeded, io.EOF} {
		if errors.Is(err, target) {
			text += fmt.Sprintf(" is %v", target) //nolint:perfsprint // a few
		}
	}
	return text
}

// mdText returns metadata in a fixed order, without what the tests add.
func mdText(md metadata.MD) string {
	if md == nil {
		return "nil"
	}
	var fields []string
	for _, key := range slices.Sorted(maps.Keys(md)) {
		if !isFramework(key) {
			fields = append(fields, fmt.Sprintf("%s=%q", key, md[key]))
		}
	}
	return "{" + strings.Join(fields, " ") + "}"
}

// callKey is the key of the call in the context of its caller.
type callKey struct{}

// tagValue is what TagRPC puts into the context.
type tagValue struct {
	call *call
	info stats.RPCTagInfo
}

type taggedKey struct{}

// observer is a stats.Handler that notes the events of calls of programs.
type observer struct{}

var _ stats.Handler = observer{}

// TagRPC implements [stats.Handler].
func (observer) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	t := &tagValue{info: *info}
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		t.call = c
		c.notes.add(callersStats, "tag %s fail fast %t", info.FullMethodName, info.FailFast)
	} else if t.call = byContext(ctx); t.call != nil {
		t.call.notes.add(handlersStats, "tag %s fail fast %t", info.FullMethodName, info.FailFast)
	}
	return context.WithValue(ctx, taggedKey{}, t)
}

// HandleRPC implements [stats.Handler].
func (observer) HandleRPC(ctx context.Context, s stats.RPCStats) {
	t, ok := ctx.Value(taggedKey{}).(*tagValue)
	if !ok || t.call == nil {
		return
	}
	list := handlersStats
	if s.IsClient() {
		list = callersStats
	}
	switch s := s.(type) {
	case *stats.Begin:
		t.call.notes.add(list, "begin: fail fast %t, streams of client %t, of server %t, retry %t, begin %t",
			s.FailFast, s.IsClientStream, s.IsServerStream, s.IsTransparentRetryAttempt, !s.BeginTime.IsZero())
	case *stats.DelayedPickComplete: // depends on the moment
	case *stats.OutHeader:
		t.call.notes.add(list, "out header: method %q, compression %q, %s, addresses %t", s.FullMethod, s.Compression, mdText(s.Header), s.LocalAddr != nil && s.RemoteAddr != nil)
	case *stats.InHeader:
		if s.Client {
			list += receivedHeader
		}
		t.call.notes.add(list, "in header: method %q, compression %q, %s, addresses %t", s.FullMethod, s.Compression, mdText(s.Header), s.LocalAddr != nil && s.RemoteAddr != nil)
		if s.Client {
			t.call.headerOnce.Do(func() { close(t.call.headerSeen) })
		}
	case *stats.OutPayload:
		t.call.notes.add(list, "out payload: %T, %d bytes, compressed %d, sent %t", s.Payload, s.Length, s.CompressedLength, !s.SentTime.IsZero())
	case *stats.InPayload:
		t.call.notes.add(list, "in payload: %T, %d bytes, compressed %d, received %t", s.Payload, s.Length, s.CompressedLength, !s.RecvTime.IsZero())
	case *stats.OutTrailer:
		t.call.notes.add(list, "out trailer: %s", mdText(s.Trailer))
		t.call.trailerOnce.Do(func() { close(t.call.trailerSent) })
	case *stats.InTrailer:
		t.call.notes.add(list+receivedTrailer, "in trailer: %s", mdText(s.Trailer))
	case *stats.End:
		t.call.notes.add(list, "end: %s, trailer %s, times %t", errText(s.Error), mdText(s.Trailer), !s.EndTime.Before(s.BeginTime) && !s.BeginTime.IsZero())
		if s.Client {
			t.call.callerOnce.Do(func() { close(t.call.callerEnded) })
		} else {
			t.call.handlerOnce.Do(func() { close(t.call.handlerEnded) })
		}
	default:
		t.call.notes.add(list, "%T", s)
	}
}

// TagConn implements [stats.Handler].
func (observer) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn implements [stats.Handler].
func (observer) HandleConn(context.Context, stats.ConnStats) {}

type interceptedKey struct{}

// interceptServer returns interceptors that note calls.
func interceptServer(side string) (grpc.UnaryServerInterceptor, grpc.StreamServerInterceptor) {
	note := func(ctx context.Context, format string, args ...any) {
		if c := byContext(ctx); c != nil {
			c.notes.add("handler's interceptor", format, args...)
		}
	}
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			note(ctx, "of %s: %s, service %T, request %T", side, info.FullMethod, info.Server, req)
			resp, err := next(context.WithValue(ctx, interceptedKey{}, true), req)
			note(ctx, "response %T, %s", resp, errText(err))
			return resp, err
		}, func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			note(ss.Context(), "of %s: %s, service %T, streams of client %t, of server %t", side, info.FullMethod, srv, info.IsClientStream, info.IsServerStream)
			err := next(srv, ss)
			note(ss.Context(), "returned %s", errText(err))
			return err
		}
}

// interceptClient returns interceptors that note calls.
func interceptClient(side string) (grpc.UnaryClientInterceptor, grpc.StreamClientInterceptor) {
	note := func(ctx context.Context, format string, args ...any) {
		if c, ok := ctx.Value(callKey{}).(*call); ok {
			c.notes.add("caller's interceptor", format, args...)
		}
	}
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			note(ctx, "to %s: %s, request %T, reply %T, options %s", side, method, req, reply, optionTypes(opts))
			err := next(ctx, method, req, reply, cc, opts...)
			note(ctx, "returned %s", errText(err))
			return err
		}, func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
			note(ctx, "to %s: %s, streams of client %t, of server %t, options %s", side, method, desc.ClientStreams, desc.ServerStreams, optionTypes(opts))
			s, err := next(ctx, desc, cc, method, opts...)
			note(ctx, "returned %s", errText(err))
			return s, err
		}
}

func optionTypes(opts []grpc.CallOption) string {
	types := make([]string, len(opts))
	for i, o := range opts {
		types[i] = fmt.Sprintf("%T", o)
	}
	return strings.Join(types, " ")
}
