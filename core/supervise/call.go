package supervise

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
)

// Invoke makes a unary call. It is for generated code.
//
// A call that has not begun when its plugin ends or is replaced goes to the next plugin.
// So does a call that may have run, if its method is declared idempotent (option
// idempotency_level in the .proto file). All others fail with the error of the plugin.
func (h *Handle) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	t := h.target.Load()
	if t.plan.idle > 0 {
		h.usage.begin()
		defer h.usage.end()
		t = h.target.Load() // the plugin may have become idle before the call counted
	}
	var err error
	if t.plugin != nil {
		err = t.plugin.Invoke(ctx, method, args, reply, opts...)
		if err == nil || !h.repeats(method, err) {
			return err
		}
	}
	_, err = h.later(ctx, t, err, method, opts, func(p instance) error {
		return p.Invoke(ctx, method, args, reply, opts...)
	})
	return err
}

// maxRepeats bounds how often a call that may have run goes to another plugin. It is less
// than [DefaultMaxEnds], so that a request that crashes its plugin does not bring the
// handle down alone.
const maxRepeats = 3

// repeats reports whether a call that failed at one plugin may go to the next. Errors of
// handlers stay as they are, and so do those about a limit of a plugin that lives.
func (h *Handle) repeats(method string, err error) bool {
	if status.Code(err) != codes.Unavailable {
		return false
	}
	return host.NotBegun(err) || h.contract.Load().idempotent[method] && errors.Is(err, net.ErrClosed)
}

// later makes a call that found no plugin at t, or failed there with err and may be
// repeated. It returns where the call was made last.
func (h *Handle) later(ctx context.Context, t *target, err error, method string, opts []grpc.CallOption, call func(instance) error) (*target, error) {
	h.usage.begin() // the next plugin may be the first that is stopped when nobody calls it
	defer h.usage.end()
	var expired <-chan time.Time // nil: the call waits as long as its context
	wait := true
	if !waitsForReady(opts) {
		hold := h.target.Load().plan.hold
		if wait = hold > 0; wait {
			timer := time.NewTimer(hold)
			defer timer.Stop()
			expired = timer.C
		}
	}
	for repeats := 0; ; {
		if err != nil && !host.NotBegun(err) {
			if repeats == maxRepeats {
				return t, err
			}
			repeats++
		}
		next := h.target.Load()
		for next == t || next.plugin == nil {
			if !wait && !next.wakes {
				return t, h.refused(next, err)
			}
			var waitErr error
			if next, waitErr = h.await(ctx, next, expired); waitErr != nil {
				if err != nil && status.Code(waitErr) == codes.Unavailable {
					return t, err // which says what became of the call itself
				}
				return t, waitErr
			}
		}
		t = next
		if err = call(t.plugin); err == nil || !h.repeats(method, err) {
			return t, err
		}
	}
}

// refused returns the error of a call that is not to wait: its own, or why no plugin took
// it.
func (h *Handle) refused(t *target, err error) error {
	if err != nil {
		return err
	}
	return &UnavailableError{Name: h.name, State: t.state}
}

// await waits until the handle has another target than t, and wakes a handle that is idle.
// expired ends the wait, beside the context; it may be nil.
func (h *Handle) await(ctx context.Context, t *target, expired <-chan time.Time) (*target, error) {
	if !t.mayWait() {
		return nil, h.refused(t, nil)
	}
	var wakes chan<- struct{}
	if t.state.Phase == PhaseIdle {
		wakes = h.wakes
	}
	if t.wakes {
		expired = nil // the start may take longer than a gap in which calls are held
	}
	for {
		select {
		case wakes <- struct{}{}:
			wakes = nil
		case <-t.replaced:
			return h.target.Load(), nil
		case <-expired:
			return nil, h.refused(t, nil)
		case <-ctx.Done():
			s := status.FromContextError(ctx.Err())
			reason := &UnavailableError{Name: h.name, State: t.state}
			return nil, status.Errorf(s.Code(), "%s: %v", s.Message(), reason)
		}
	}
}

// waitsForReady reports whether a call has grpc.WaitForReady(true).
func waitsForReady(opts []grpc.CallOption) bool {
	waits := false
	for _, o := range opts {
		if failFast, ok := o.(grpc.FailFastCallOption); ok {
			waits = !failFast.FailFast
		}
	}
	return waits
}

// idempotentMethods returns the full names of the methods that a protocol's .proto files
// declare as idempotent.
func idempotentMethods(p *protocol.Protocol) map[string]bool {
	methods := make(map[string]bool)
	for _, s := range p.Services() {
		d := s.Descriptor()
		if d == nil {
			continue // it was not generated from a .proto file
		}
		for i := range d.Methods().Len() {
			if m := d.Methods().Get(i); isIdempotent(m) {
				methods[fmt.Sprintf("/%s/%s", s.Name, m.Name())] = true
			}
		}
	}
	return methods
}

func isIdempotent(m protoreflect.MethodDescriptor) bool {
	options, _ := m.Options().(*descriptorpb.MethodOptions)
	return options.GetIdempotencyLevel() != descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN
}
