package pw

import (
	"context"
	"testing"

	testpb "google.golang.org/grpc/interop/grpc_testing"
)

// TestOwnCallsOfTheOtherSide checks that the background reads as soon as a call of this side
// has ended, if the other side has begun one by itself lately. A role that was nobody's
// delayed the next such call by up to two ticks. If no more come, callers read again.
func TestOwnCallsOfTheOtherSide(t *testing.T) {
	t.Parallel()
	p := against(t, "host", &service{})
	client := testpb.NewTestServiceClient(p.real)
	call := func() (reading bool) {
		ended := make(chan error, 1)
		go func() {
			_, err := client.UnaryCall(bounded(t), &request{})
			ended <- err
		}()
		p.answer(ended)
		p.real.mu.Lock()
		defer p.real.mu.Unlock()
		return p.real.reading
	}
	free := func() {
		t.Helper()
		eventually(t, "the caller gives the role away", func() bool { return !call() })
	}
	free() // the other side has begun no call

	p.open(2, unaryName, openMessage)
	if f, ok := p.next(); !ok || f.kind != frameEnd {
		t.Fatal(f, ok)
	}
	eventually(t, "the end of the call", func() bool {
		p.real.mu.Lock()
		defer p.real.mu.Unlock()
		return len(p.real.served) == 0
	})
	for range expectCalls / 4 {
		if !call() {
			t.Error("nobody reads")
		}
	}
	free()
}

// TestExpectedCallsAfterTwo checks that the background reads after two calls of this side
// have ended in one read. The reader gave the role to the other call, which had its answer
// already, and then nobody read.
func TestExpectedCallsAfterTwo(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := against(t, "host", &service{unary: func(context.Context, *request) (*response, error) {
		<-release
		return &response{}, nil
	}})
	client := testpb.NewTestServiceClient(p.real)
	begin := func() (id uint32, ended <-chan error) {
		t.Helper()
		end := make(chan error, 1)
		go func() {
			_, err := client.UnaryCall(context.Background(), &request{}) // a context that may end makes the reader leave at a tick
			end <- err
		}()
		f, ok := p.next()
		if !ok || f.kind != frameOpen {
			t.Fatal(f, ok)
		}
		return f.id, end
	}
	waits := func(reads bool) func() bool {
		return func() bool {
			p.real.mu.Lock()
			defer p.real.mu.Unlock()
			return reads && p.real.reader != nil || p.real.waiting.first != nil
		}
	}

	p.open(2, unaryName, openMessage)
	serves := func(n int) func() bool {
		return func() bool {
			p.real.mu.Lock()
			defer p.real.mu.Unlock()
			return len(p.real.served) == n
		}
	}
	eventually(t, "the call of the other side", serves(1))
	var reader uint32
	var readerEnded <-chan error
	eventually(t, "a call reads", func() bool {
		reader, readerEnded = begin()
		eventually(t, "the call waits", waits(true))
		p.real.mu.Lock()
		reads := p.real.reader != nil
		p.real.mu.Unlock()
		if !reads { // a tick was first
			p.send(frameEnd, reader, endMessage)
			if err := receive(t, "a call", readerEnded); err != nil {
				t.Fatal(err)
			}
		}
		return reads
	})
	other, otherEnded := begin()
	eventually(t, "the other call waits", waits(false))
	close(release)
	if f, ok := p.next(); !ok || f.kind != frameEnd {
		t.Fatal(f, ok)
	}
	eventually(t, "the end of the handler", serves(0))
	p.write(append(encoded(frameEnd, other, endMessage), encoded(frameEnd, reader, endMessage)...), hang)
	for _, ended := range []<-chan error{readerEnded, otherEnded} {
		if err := receive(t, "a call", ended); err != nil {
			t.Fatal(err)
		}
	}
	p.real.mu.Lock()
	defer p.real.mu.Unlock()
	if !p.real.reading {
		t.Error("nobody reads")
	}
}
