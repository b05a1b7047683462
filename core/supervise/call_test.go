package supervise

import (
	"context"
	"errors"
	"maps"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/protocol"
)

// In a gap a call fails at once, with what the handle is doing and why.
func TestCallInAGap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f)
		defer closeHandle(t, h)
		for range 2 {
			f.last().kill()
			synctest.Wait()
		}
		_, err := call(t.Context(), h)
		gap, ok := errors.AsType[*UnavailableError](err)
		if !ok || gap.State.Phase != PhaseWaiting || gap.State.Attempt != 2 || gap.Name != "fake" {
			t.Fatal(err)
		}
		if s := status.Convert(err); s.Code() != codes.Unavailable || s.Message() != err.Error() || !host.NotBegun(err) {
			t.Errorf("status %v", s)
		}
		if _, ok := errors.AsType[*host.ExitError](err); !ok {
			t.Errorf("%v does not say how the plugin ended", err)
		}
		want := "plugin fake is restarting (attempt 2, next start in " + untilNext(gap.State).String() + "): plugin fake ended (signal: killed)"
		if err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		if _, err := h.NewStream(t.Context(), nil, "/fake.Fake/Stream"); !errors.As(err, &gap) {
			t.Errorf("a stream: %v", err)
		}
		if _, err := h.Plugin(t.Context()); err != nil {
			t.Errorf("Plugin did not wait: %v", err)
		}
	})
}

// A call that waits ends with its context, whose end says what it has waited for.
func TestCallsWait(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		hold     time.Duration
		opts     []grpc.CallOption
		deadline time.Duration
		starts   time.Duration // what the next start takes
		want     codes.Code
		after    time.Duration
	}{
		"waits for ready":            {0, ready(true), time.Minute, 3 * time.Second, codes.OK, 3 * time.Second},
		"waits for ready too long":   {0, ready(true), time.Second, time.Minute, codes.DeadlineExceeded, time.Second},
		"fails fast":                 {0, ready(false), time.Minute, time.Second, codes.Unavailable, 0},
		"is held":                    {5 * time.Second, nil, time.Minute, 3 * time.Second, codes.OK, 3 * time.Second},
		"is held too long":           {5 * time.Second, nil, time.Minute, 8 * time.Second, codes.Unavailable, 5 * time.Second},
		"is held until its deadline": {5 * time.Second, nil, time.Second, 3 * time.Second, codes.DeadlineExceeded, time.Second},
		"is held, waits for ready":   {5 * time.Second, ready(true), time.Minute, 8 * time.Second, codes.OK, 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := new(factory)
				h := startFake(t, f, WithHold(tt.hold))
				defer closeHandle(t, h)
				first := f.last()
				f.set(func(ctx context.Context, _ *fakePlugin) error {
					select {
					case <-time.After(tt.starts):
						return nil
					case <-ctx.Done():
						return ctx.Err()
					}
				})
				first.kill()
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), tt.deadline)
				defer cancel()
				began := time.Now()
				n, err := call(ctx, h, tt.opts...)
				if took := time.Since(began); status.Code(err) != tt.want || took != tt.after || err == nil && n != 2 {
					t.Errorf("plugin %d, %v after %v", n, err, took)
				}
				want := "context deadline exceeded: plugin fake is restarting (attempt 1, starting now): plugin fake ended (signal: killed)"
				if tt.want == codes.DeadlineExceeded && status.Convert(err).Message() != want {
					t.Errorf("got  %v\nwant %s", status.Convert(err).Message(), want)
				}
			})
		})
	}
}

func ready(wait bool) []grpc.CallOption { return []grpc.CallOption{grpc.WaitForReady(wait)} }

const idempotent = "/fake.Fake/Idempotent"

// TestRepeats makes calls that fail at their plugin in each way, and checks which of them
// go to the next plugin.
func TestRepeats(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method string
		err    func() error
		live   bool // the plugin lives on
		want   int  // the plugin that answers; 0 for the error
	}{
		"not begun":                   {"/fake.Fake/Call", notSent, false, 2},
		"may have run":                {"/fake.Fake/Call", lost, false, 0},
		"may have run, is idempotent": {idempotent, lost, false, 2},
		"a handler's error":           {idempotent, func() error { return status.Error(codes.Internal, "x") }, true, 0},
		"a handler is unavailable":    {idempotent, func() error { return status.Error(codes.Unavailable, "x") }, true, 0},
		"a limit":                     {idempotent, func() error { return status.Error(codes.ResourceExhausted, "x") }, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := new(factory)
				h := startFake(t, f, WithHold(time.Minute))
				defer closeHandle(t, h)
				h.contract.Load().idempotent[idempotent] = true
				first := f.last()
				first.call = func(context.Context, string) error {
					if !tt.live {
						time.AfterFunc(time.Second, first.kill) // Done comes after the errors of calls
					}
					return tt.err()
				}
				var number int
				err := h.Invoke(t.Context(), tt.method, nil, &number)
				if number != tt.want || (err == nil) != (tt.want > 0) {
					t.Errorf("plugin %d, %v", number, err)
				}
				if err != nil && err.Error() != tt.err().Error() {
					t.Errorf("the error became %v", err)
				}
				if !tt.live {
					<-first.Done()
				}
				synctest.Wait()
			})
		})
	}
}

func notSent() error { return host.NotSent("not sent").Err() }

// A call that crashes each plugin is not repeated until the handle is down.
func TestCallThatCrashesEachPlugin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		crash := func(_ context.Context, p *fakePlugin) error {
			p.call = func(context.Context, string) error {
				p.kill()
				return lost()
			}
			return nil
		}
		f.set(crash)
		h := startFake(t, f, WithHold(time.Minute))
		defer closeHandle(t, h)
		h.contract.Load().idempotent[idempotent] = true
		if err := h.Invoke(t.Context(), idempotent, nil, nil); status.Code(err) != codes.Unavailable {
			t.Error(err)
		}
		if f.count() != 1+maxRepeats {
			t.Errorf("%d plugins, want %d", f.count(), 1+maxRepeats)
		}
		f.set(nil)
		if _, err := call(t.Context(), h); err != nil {
			t.Errorf("the next call: %v", err)
		}
	})
}

// The error of a call that may have run is its own, also if the handle goes down while it
// waits for another plugin.
func TestWaitEndsWithTheErrorOfTheCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := new(factory)
		h := startFake(t, f, WithHold(time.Minute))
		defer closeHandle(t, h)
		h.contract.Load().idempotent[idempotent] = true
		first := f.last()
		first.call = func(context.Context, string) error {
			f.set(failing(Permanent(errBroken)))
			first.kill()
			return lost()
		}
		err := h.Invoke(t.Context(), idempotent, nil, nil)
		if _, ok := errors.AsType[*lostError](err); !ok || host.NotBegun(err) {
			t.Error(err)
		}
	})
}

// The .proto file says which methods may run twice.
func TestIdempotentMethods(t *testing.T) {
	t.Parallel()
	method := func(name string, level descriptorpb.MethodOptions_IdempotencyLevel) *descriptorpb.MethodDescriptorProto {
		empty := new(".google.protobuf.Empty")
		return &descriptorpb.MethodDescriptorProto{
			Name: &name, InputType: empty, OutputType: empty,
			Options: &descriptorpb.MethodOptions{IdempotencyLevel: &level},
		}
	}
	file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
		Name:       new("core/supervise/idempotent.proto"),
		Package:    new("supervise"),
		Dependency: []string{emptypb.File_google_protobuf_empty_proto.Path()},
		Service: []*descriptorpb.ServiceDescriptorProto{{
			Name: new("Store"),
			Method: []*descriptorpb.MethodDescriptorProto{
				method("Read", descriptorpb.MethodOptions_NO_SIDE_EFFECTS),
				method("Put", descriptorpb.MethodOptions_IDEMPOTENT),
				method("Append", descriptorpb.MethodOptions_IDEMPOTENCY_UNKNOWN),
			},
		}},
	}, protoregistry.GlobalFiles)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := protoregistry.GlobalFiles.FindFileByPath(file.Path()); err != nil { // the test runs for the first time
		if err := protoregistry.GlobalFiles.RegisterFile(file); err != nil {
			t.Fatal(err)
		}
	}
	p := protocol.New("store", 1, &grpc.ServiceDesc{ServiceName: "supervise.Store"}, &grpc.ServiceDesc{ServiceName: "supervise.Unknown"})
	want := map[string]bool{"/supervise.Store/Read": true, "/supervise.Store/Put": true}
	if got := idempotentMethods(p); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A call through a handle allocates no more than one of the plugin.
func TestCallAllocatesNothing(t *testing.T) {
	f := new(factory)
	h := startFake(t, f, WithLogger(discard)) // records come after the test, too
	defer closeHandle(t, h)
	p := f.last()
	var number int
	ctx := t.Context()
	measure := func(c grpc.ClientConnInterface) float64 {
		return testing.AllocsPerRun(1000, func() {
			if err := c.Invoke(ctx, "/fake.Fake/Call", nil, &number); err != nil {
				t.Fatal(err)
			}
		})
	}
	if direct, supervised := measure(p), measure(h); supervised > direct {
		t.Errorf("%v allocations, and %v without the handle", supervised, direct)
	}
}
