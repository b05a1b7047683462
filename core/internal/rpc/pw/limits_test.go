package pw

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

func limited(l calls.Limits) func(*calls.ServerConfig) {
	return func(cfg *calls.ServerConfig) { cfg.Limits = l }
}

// holding is a service whose streams wait for their end.
func holding() *service {
	return &service{duplex: func(stream duplex) error {
		<-stream.Context().Done()
		return stream.Context().Err()
	}}
}

func assertExhausted(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%s: %v, want %v", what, err, codes.ResourceExhausted)
		return
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %q is not in %v", what, word, err)
		}
	}
}

// TestRefusalsAreNotRead opens calls far above the limit and reads no answer.
func TestRefusalsAreNotRead(t *testing.T) {
	t.Parallel()
	p := against(t, "plugin", holding(), limited(calls.Limits{Calls: 1}))
	most := p.real.server.maxStreams
	var flood []byte
	id := uint32(1)
	for sent := 0; ; sent++ {
		flood = flood[:0]
		for range 1000 {
			flood = append(flood, encoded(frameOpen, id, openPayload(duplexName, 0)...)...)
			id += 2
		}
		if !p.write(flood, hang) {
			break
		}
		if sent > 1000 {
			t.Fatalf("%d calls were taken, with %d of them at a time", sent*1000, most)
		}
	}
	receive(t, "the end of the connection", p.real.lost)
	p.real.mu.Lock()
	defer p.real.mu.Unlock()
	if !errors.Is(p.real.lostWith, errProtocol) {
		t.Errorf("lost with %v, want %v", p.real.lostWith, errProtocol)
	}
}

// TestCancelledHandlersCount cancels calls at once whose handlers go on.
func TestCancelledHandlersCount(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := against(t, "plugin", &service{duplex: func(duplex) error {
		<-release
		return nil
	}}, limited(calls.Limits{Calls: 10}))
	defer close(release)
	most := p.real.server.maxStreams
	const more = 50
	for i := range most + more {
		id := uint32(2*i + 1)
		p.open(id, duplexName, 0)
		if i < most { // a call that was cancelled gets no answer
			p.send(frameCancel, id)
		}
	}
	refused := 0
	for refused < more {
		f, ok := p.next()
		if !ok {
			t.Fatal("the connection has ended")
		}
		if f.kind == frameEnd && int(f.id) > 2*most {
			refused++
			if s := endStatusOf(t, f.payload); s.Code() != codes.ResourceExhausted || !strings.Contains(s.Message(), "plugin.WithMaxCalls") || !calls.NotBegun(s.Err()) {
				t.Fatalf("%v", s)
			}
		}
	}
	p.real.mu.Lock()
	defer p.real.mu.Unlock()
	if n := len(p.real.served); n > most {
		t.Errorf("%d handlers run, want at most %d", n, most)
	}
}

// TestUnreadMessagesAreBounded sends as many messages as credit allows to handlers that read
// one message each.
func TestUnreadMessagesAreBounded(t *testing.T) {
	const streams, buffered = 200, 8 << 20
	read := make(chan struct{}, streams)
	p := against(t, "plugin", &service{duplex: func(stream duplex) error {
		for range 2 {
			if _, err := stream.Recv(); err != nil {
				return err
			}
		}
		read <- struct{}{}
		<-stream.Context().Done()
		return nil
	}}, limited(calls.Limits{Buffered: buffered}))
	before := heap()
	credit := make(map[uint32]int)
	message := make([]byte, 32<<10)
	message[0], message[1], message[2], message[3] = 0x7a, 0xfc, 0xff, 0x01 // field 15 has the rest
	send := func(id uint32) {
		for credit[id] > 0 {
			p.send(frameMessage, id, message...)
			credit[id] -= len(message) + messageCost
		}
	}
	for i := range streams {
		id := uint32(2*i + 1)
		p.open(id, duplexName, 0)
		credit[id] = firstWindow
		send(id)
	}
	for range streams { // each has been read from
		receive(t, "a handler", read)
	}
	p.open(2*streams+1, unaryName, openMessage) // what comes before its end are all credits
	for {
		f, ok := p.next()
		if !ok {
			t.Fatal("the connection has ended")
		}
		if f.kind == frameEnd {
			break
		}
		if f.kind == frameCredit {
			more, _, err := uvarint(f.payload)
			if err != nil {
				t.Fatal(err)
			}
			credit[f.id] += int(more)
			send(f.id)
		}
	}
	p.open(2*streams+3, unaryName, openMessage)
	p.endOf(2*streams + 3)
	// Each stream has a first window, the buffer that it came in may be twice as large, and
	// what handlers have read is there too.
	if grown, most := heap()-before, int64(2*buffered+streams*6*firstWindow); grown > most {
		t.Errorf("the memory in use has grown by %d MiB, want at most %d", grown>>20, most>>20)
	}
}

// TestEmptyMessagesAreBounded sends empty messages to a handler that reads none.
func TestEmptyMessagesAreBounded(t *testing.T) {
	t.Parallel()
	p := against(t, "plugin", holding())
	p.open(1, duplexName, 0)
	p.write(bytes.Repeat(encoded(frameMessage, 1), 1<<20), hang)
	p.assertEnded("a million empty messages")
}

// TestLargeMessagesAreBounded announces large messages and sends little of them.
func TestLargeMessagesAreBounded(t *testing.T) {
	const size = 200 << 20
	t.Run("to handlers", func(t *testing.T) {
		p := against(t, "plugin", holding(), limited(calls.Limits{Buffered: 3 * size}))
		before := heap()
		for i := range 10 {
			id := uint32(2*i + 1)
			p.open(id, duplexName, 0)
			p.send(frameBegin, id, uvarintOf(size)...)
			p.send(framePiece, id, 0)
		}
		p.assertServes(101)
		if grown := heap() - before; grown > 8<<20 {
			t.Errorf("the memory in use has grown by %d MiB", grown>>20)
		}
		if held := p.real.server.room.held.Load(); held != 3*size {
			t.Errorf("%d bytes are held, want %d", held, 3*size)
		}
		for i := range 10 {
			p.send(frameCancel, uint32(2*i+1))
		}
		eventually(t, "the room is free", func() bool { return p.real.server.room.held.Load() == 0 })
	})
	t.Run("to callers", func(t *testing.T) {
		p := against(t, "host", &service{})
		p.real.room.limit = 3 * size
		before := heap()
		const callers = 10
		ended := make(chan error, callers)
		ctx, cancel := context.WithCancel(bounded(t))
		for range callers {
			go func() {
				_, err := testpb.NewTestServiceClient(p.real).UnaryCall(ctx, &request{})
				ended <- err
			}()
		}
		for opened := 0; opened < callers; {
			f, ok := p.next()
			switch {
			case ok && f.kind == frameCancel: // of a call that has got no room
			case ok && f.kind == frameOpen:
				opened++
				p.send(frameBegin, f.id, uvarintOf(size)...)
				p.send(framePiece, f.id, 0)
			default:
				t.Fatalf("%v, %t", f, ok)
			}
		}
		for range callers - 3 {
			assertExhausted(t, "an answer without room", receive(t, "a call", ended), "the host has no room")
		}
		eventually(t, "the room is taken", func() bool { return p.real.room.held.Load() == 3*size })
		if grown := heap() - before; grown > 16<<20 {
			t.Errorf("the memory in use has grown by %d MiB", grown>>20)
		}
		cancel()
		for range 3 {
			if err := receive(t, "a call", ended); status.Code(err) != codes.Canceled {
				t.Errorf("%v, want %v", err, codes.Canceled)
			}
		}
		if held := p.real.room.held.Load(); held != 0 {
			t.Errorf("%d bytes are held", held)
		}
	})
	t.Run("that have come", func(t *testing.T) {
		const size = 1 << 20
		p := connect(t, &service{}, &service{})
		p.host.room.limit = size / 2
		_, err := p.toPlugin.UnaryCall(bounded(t), &request{Payload: &testpb.Payload{Body: make([]byte, size)}})
		assertExhausted(t, "an answer without room", err, "the host has no room", "host.WithMaxBuffered")
		if _, err := p.toPlugin.UnaryCall(bounded(t), &request{Payload: &testpb.Payload{Body: make([]byte, size/4)}}); err != nil {
			t.Errorf("one with room: %v", err)
		}
		if held := p.host.room.held.Load(); held != 0 {
			t.Errorf("%d bytes are held", held)
		}
	})
}

// TestMetadataIsBounded opens calls with as much metadata as a call may have.
func TestMetadataIsBounded(t *testing.T) {
	t.Parallel()
	onEachMapping(t, testMetadataIsBounded)
}

func testMetadataIsBounded(t *testing.T, connect connector) {
	t.Helper()
	p := connect(t, holding(), &service{}, limited(calls.Limits{Buffered: 64 << 20})) // 4 MiB of metadata
	much := metadata.AppendToOutgoingContext(bounded(t), "much", strings.Repeat("y", 700<<10))
	ctx, cancel := context.WithCancel(much)
	defer cancel()
	for range 5 {
		if _, err := p.toPlugin.FullDuplexCall(ctx); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all have begun", func() bool { // streams have no order
		p.plugin.mu.Lock()
		defer p.plugin.mu.Unlock()
		return len(p.plugin.served) == 5
	})
	_, err := p.toPlugin.UnaryCall(much, &request{})
	assertExhausted(t, "one more", err, "metadata", "plugin.WithMaxBuffered")
	if !calls.NotBegun(err) {
		t.Errorf("%v: not marked as not begun", err)
	}
	if _, err := p.toPlugin.UnaryCall(bounded(t), &request{}); err != nil {
		t.Errorf("a call with little metadata: %v", err)
	}
	cancel()
	eventually(t, "there is room again", func() bool {
		_, err := p.toPlugin.UnaryCall(much, &request{})
		return err == nil
	})
}

// TestMethodsAreBounded sends names until the table of methods is full.
func TestMethodsAreBounded(t *testing.T) {
	t.Parallel()
	p := against(t, "plugin", &service{})
	go func() { // the answers
		for {
			if _, err := p.conn.Read(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}()
	for i := range maxMethods + 1 {
		payload := appendString(appendUvarint([]byte{openNewMethod}, uint64(i+1)), "/x/y")
		p.send(frameOpen, uint32(2*i+1), payload...)
	}
	receive(t, "the end of the connection", p.real.lost)
	p.real.mu.Lock()
	defer p.real.mu.Unlock()
	if n := len(p.real.methods); n != maxMethods {
		t.Errorf("%d methods, want %d", n, maxMethods)
	}
}

// TestMaxConnections opens connections up to the limit. One that ends makes room for another.
func TestMaxConnections(t *testing.T) {
	t.Parallel()
	a, err := Wire{}.NewAcceptor(serverConfig("plugin", "host", &service{}), clientConfig("plugin", "host"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	accept := func() (calls.Client, error) {
		_, theirs := sockets(t)
		return a.Accept(t.Context(), plainStream(theirs))
	}
	var first calls.Client
	for i := range maxConns {
		c, err := accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i == 0 {
			first = c
		}
	}
	if _, err := accept(); err == nil {
		t.Error("a connection above the limit was accepted")
	}
	first.Close()
	c, err := accept()
	if err != nil {
		t.Fatalf("after the end of one: %v", err)
	}
	c.Close()
}

// TestManyStreams holds 10,000 streams open at once. One of them is not read.
func TestManyStreams(t *testing.T) {
	inTurn(t, testManyStreams)
}

func testManyStreams(t *testing.T, connect connector) {
	t.Helper()
	if testing.Short() {
		t.Skip("it takes seconds: without -short it runs")
	}
	const streams = 10_000
	p := connect(t, &service{duplex: func(stream duplex) error {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		for { // until the caller ends
			if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 10)}}); err != nil {
				return err
			}
			req, err := stream.Recv()
			if err != nil {
				return nil //nolint:nilerr // the end
			}
			for range req.GetResponseParameters() { // more than there is credit for
				if err := stream.Send(&testpb.StreamingOutputCallResponse{Payload: &testpb.Payload{Body: make([]byte, 10<<10)}}); err != nil {
					return err
				}
			}
		}
	}}, &service{}, limited(calls.Limits{Calls: streams}))
	ctx := bounded(t)
	slow, err := p.toPlugin.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, req := range []*testpb.StreamingOutputCallRequest{{}, {ResponseParameters: make([]*testpb.ResponseParameters, 100)}} {
		for i := range req.GetResponseParameters() {
			req.ResponseParameters[i] = &testpb.ResponseParameters{}
		}
		if err := slow.Send(req); err != nil {
			t.Fatal(err)
		}
	}
	var all sync.WaitGroup
	var ready sync.WaitGroup
	ready.Add(streams - 1)
	for range streams - 1 {
		all.Go(func() {
			stream, err := p.toPlugin.FullDuplexCall(ctx)
			for range 2 {
				if err == nil {
					err = stream.Send(&testpb.StreamingOutputCallRequest{})
				}
				if err == nil {
					_, err = stream.Recv()
				}
			}
			ready.Done()
			if err != nil {
				t.Error(err)
				return
			}
			ready.Wait() // all are open
			if err := stream.CloseSend(); err != nil {
				t.Error(err)
			}
			if _, err := stream.Recv(); err == nil {
				t.Error("a message too many")
			}
		})
	}
	all.Wait()
	for range 102 { // all of the slow one's are there
		if _, err := slow.Recv(); err != nil {
			t.Fatal(err)
		}
	}
}
