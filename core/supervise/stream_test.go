package supervise

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/plugwire/plugwire/core/host"
)

// fakeStream answers with the number of its plugin, after the errors that the plugin has
// for it.
type fakeStream struct {
	grpc.ClientStream
	plugin  *fakePlugin
	method  string
	request any
	answers int
}

func (s *fakeStream) SendMsg(m any) error {
	s.request = m
	return nil
}

func (s *fakeStream) CloseSend() error             { return nil }
func (s *fakeStream) Header() (metadata.MD, error) { return nil, nil }

func (s *fakeStream) RecvMsg(m any) error {
	if s.request != "request" {
		return errors.New("another request came")
	}
	if s.answers++; s.answers > 2 {
		return io.EOF
	}
	return s.plugin.Invoke(context.Background(), s.method, nil, m)
}

// streaming makes the plugin open streams.
func streaming(_ context.Context, p *fakePlugin) error {
	p.stream = func(method string) grpc.ClientStream { return &fakeStream{plugin: p, method: method} }
	return nil
}

// TestStreams ends the plugin of a stream at each moment, and checks which streams go to
// the next plugin.
func TestStreams(t *testing.T) {
	t.Parallel()
	one, many := &grpc.StreamDesc{ServerStreams: true}, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	for name, tt := range map[string]struct {
		desc   *grpc.StreamDesc
		method string
		err    func() error
		header bool
		after  int // answers before the plugin ends
		want   int // the plugin of the next answer; 0 for the error
	}{
		"has not begun":                {desc: one, err: notSent, want: 2},
		"may have run":                 {desc: one, err: lost},
		"may have run, is idempotent":  {desc: one, method: idempotent, err: lost, want: 2},
		"after an answer":              {desc: one, method: idempotent, err: lost, after: 1},
		"after its header":             {desc: one, err: notSent, header: true},
		"several messages, not begun":  {desc: many, err: notSent},
		"several messages, idempotent": {desc: many, method: idempotent, err: lost},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := new(factory)
				f.set(streaming)
				h := startFake(t, f, WithHold(time.Minute))
				defer closeHandle(t, h)
				h.contract.Load().idempotent[idempotent] = true
				stream, err := h.NewStream(t.Context(), tt.desc, tt.method)
				if err != nil {
					t.Fatal(err)
				}
				if err := stream.SendMsg("request"); err != nil {
					t.Fatal(err)
				}
				if tt.header {
					if _, err := stream.Header(); err != nil {
						t.Fatal(err)
					}
				}
				var number int
				for range tt.after {
					if err := stream.RecvMsg(&number); err != nil || number != 1 {
						t.Fatal(number, err)
					}
				}
				first := f.last()
				first.set(func() {
					first.call = func(context.Context, string) error {
						time.AfterFunc(time.Second, first.kill)
						return tt.err()
					}
				})
				err = stream.RecvMsg(&number)
				if tt.want == 0 {
					if err == nil || err.Error() != tt.err().Error() || host.NotBegun(err) != host.NotBegun(tt.err()) {
						t.Errorf("%v, want %v", err, tt.err())
					}
					<-first.Done()
					synctest.Wait()
					return
				}
				if err != nil || number != tt.want {
					t.Errorf("plugin %d, %v", number, err)
				}
				if err := stream.RecvMsg(&number); err != nil || number != tt.want {
					t.Errorf("the second answer: plugin %d, %v", number, err)
				}
				if err := stream.RecvMsg(&number); !errors.Is(err, io.EOF) {
					t.Errorf("at the end: %v", err)
				}
			})
		})
	}
}
