package calls

import (
	"context"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/stats"
)

// methodStats notes the methods that it gets events about.
type methodStats struct {
	stats.Handler
	tagged, handled []string
}

type methodKey struct{}

func (m *methodStats) TagRPC(ctx context.Context, info *stats.RPCTagInfo) context.Context {
	m.tagged = append(m.tagged, info.FullMethodName)
	return context.WithValue(ctx, methodKey{}, info.FullMethodName)
}

func (m *methodStats) HandleRPC(ctx context.Context, _ stats.RPCStats) {
	method, _ := ctx.Value(methodKey{}).(string)
	m.handled = append(m.handled, method)
}

// A handler sees the application's calls only, also those that a handler of the
// framework's own makes with the context of its call, and the other way round.
func TestApplicationStats(t *testing.T) {
	t.Parallel()
	seen, other := new(methodStats), new(methodStats)
	list := ApplicationStats([]stats.Handler{seen, other}, func(method string) bool { return strings.HasPrefix(method, "/own/") })
	call := func(ctx context.Context, h stats.Handler, method string) context.Context {
		ctx = h.TagRPC(ctx, &stats.RPCTagInfo{FullMethodName: method})
		h.HandleRPC(ctx, &stats.Begin{})
		return ctx
	}
	own := call(t.Context(), list[0], "/own/Ready")
	application := call(own, list[0], "/app/Register")
	call(application, list[0], "/own/Health")
	call(own, list[0], "/own/Info")
	call(own, list[1], "/app/Other")

	want := []string{"/app/Register"}
	if !slices.Equal(seen.tagged, want) || !slices.Equal(seen.handled, want) {
		t.Errorf("tagged %v, handled %v, want %v", seen.tagged, seen.handled, want)
	}
	if want := []string{"/app/Other"}; !slices.Equal(other.handled, want) {
		t.Errorf("the second handler handled %v, want %v", other.handled, want)
	}
}
