package rpc

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
	"github.com/plugwire/plugwire/core/internal/session"
)

// The toy wire is in the table of wires. No other package knows it.
var _ = addWire(toyWire{})

func addWire(w calls.Wire) error {
	wires = append(wires, w)
	return nil
}

// toyWire is a wire on one stream of a session, in both directions. It shows that a wire
// can be added to the table and nothing else. It has no flow control, and buffers what it
// is sent.
//
// A frame is a type, the number of a call, the length of the payload, and the payload. The
// host's calls have odd numbers and the plugin's have even ones.
type toyWire struct{}

var _ calls.Wire = toyWire{}

const toyName = "toy"

const (
	frameBegin   byte = iota // a beginning, in JSON
	frameMessage             // a message
	frameHalf                // the caller sends no more
	frameEnd                 // the status of the call
	frameCancel              // the caller has given up
	frameBye                 // all answers are sent: the other side closes the connection
)

// toyHeader is the length of a frame's header.
const toyHeader = 9

// maxToyFrame bounds a frame's payload, in bytes: the size that a test may send, and more.
const maxToyFrame = 64 << 20

// beginning is the payload of the first frame of a call.
type beginning struct {
	Method   string
	Metadata metadata.MD
	Deadline time.Time // zero for none
}

// Name implements [calls.Wire].
func (toyWire) Name() string { return toyName }

// ALPN implements [calls.Wire].
func (toyWire) ALPN() string { return toyName }

// Connect implements [calls.Wire].
func (toyWire) Connect(ctx context.Context, open calls.Opener, client calls.ClientConfig, server *calls.ServerConfig) (calls.Client, calls.Server, error) {
	stream, err := open(ctx, session.Calls)
	if err != nil {
		return nil, nil, err
	}
	if server == nil {
		return newToyConn(stream, client, nil, 1), nil, nil
	}
	s, err := newToyServer(*server)
	if err != nil {
		return nil, nil, errors.Join(err, stream.Close())
	}
	c := newToyConn(stream, client, s, 1)
	s.add(c)
	return c, s, nil
}

// NewAcceptor implements [calls.Wire].
func (toyWire) NewAcceptor(server calls.ServerConfig, client calls.ClientConfig) (calls.Acceptor, error) {
	s, err := newToyServer(server)
	if err != nil {
		return nil, err
	}
	return &toyAcceptor{s, client}, nil
}

type toyAcceptor struct {
	*toyServer
	client calls.ClientConfig
}

// Accept implements [calls.Acceptor].
func (a *toyAcceptor) Accept(_ context.Context, stream *session.Stream) (calls.Client, error) {
	c := newToyConn(stream, a.client, a.toyServer, 2)
	a.add(c)
	return c, nil
}

// toyServer is a [calls.Server].
type toyServer struct {
	cfg      calls.ServerConfig
	table    calls.Table
	gate     calls.Gate
	stopping chan struct{}
	stopOnce sync.Once
	handlers sync.WaitGroup

	mu    sync.Mutex // guards conns
	conns []*toyConn
}

func newToyServer(cfg calls.ServerConfig) (*toyServer, error) {
	s := &toyServer{cfg: cfg, stopping: make(chan struct{})}
	s.gate.Limit = cfg.Limits.WithDefaults(cfg.MaxMessageSize).Calls
	err := cfg.Application(&calls.Guard{
		Server: &s.table, Gate: &s.gate, Side: cfg.Side, Other: cfg.Other,
		Unary: calls.ChainUnary(cfg.Unary), Stream: calls.ChainStream(cfg.Stream),
		OnPanic: cfg.OnPanic,
		End: func(ctx context.Context, err error) {
			if c, ok := ctx.Value(toyCallKey{}).(*toyHandling); ok {
				c.end(err)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	if cfg.Control != nil {
		cfg.Control(calls.NewControl(&s.table, cfg.Side, s.stopping))
	}
	return s, nil
}

func (s *toyServer) add(c *toyConn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = append(s.conns, c)
}

// Drain implements [calls.Server].
func (s *toyServer) Drain(ctx context.Context) error {
	select {
	case <-s.gate.Close():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%d calls were still in flight: %w", s.gate.InFlight(), context.Cause(ctx))
	}
}

// Stop implements [calls.Server].
func (s *toyServer) Stop(ctx context.Context, patience time.Duration) error {
	s.stopOnce.Do(func() { close(s.stopping) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.handlers.Wait()
	}()
	select {
	case <-done:
		s.sayBye(ctx)
	case <-ctx.Done():
	}
	s.closeAll()
	select {
	case <-done:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("calls were cut off and go on all the same (%d): their handlers do not heed the context", s.gate.InFlight())
	}
}

// Close implements [calls.Server].
func (s *toyServer) Close() {
	s.stopOnce.Do(func() { close(s.stopping) })
	s.closeAll()
}

// sayBye waits until the other sides have read their answers, or ctx ends.
func (s *toyServer) sayBye(ctx context.Context) {
	s.mu.Lock()
	conns := s.conns
	s.mu.Unlock()
	for _, c := range conns {
		if c.write(frameBye, 0, nil) != nil {
			continue // it is lost
		}
		select {
		case <-c.lost:
		case <-ctx.Done():
		}
	}
}

func (s *toyServer) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.conns {
		_ = c.stream.Close() // it may be closed already
	}
}

// toyConn is a connection, with both ends of this side: a [calls.Client], and what serves
// the other side's calls.
type toyConn struct {
	stream *session.Stream
	cfg    calls.ClientConfig
	server *toyServer // nil if this side serves nothing
	auth   *calls.AuthInfo
	unary  grpc.UnaryInvoker
	open   grpc.Streamer

	writing sync.Mutex // held while a frame is written

	mu     sync.Mutex // guards the fields below
	made   map[uint32]*inbox
	served map[uint32]*toyHandling
	next   uint32
	broken bool

	lost     chan struct{} // closed when the connection is lost
	failed   chan struct{} // closed by Fail, after reason is set
	reason   error
	failOnce sync.Once
	reader   sync.WaitGroup
}

func newToyConn(stream *session.Stream, cfg calls.ClientConfig, server *toyServer, first uint32) *toyConn {
	c := &toyConn{
		stream: stream, cfg: cfg, server: server, auth: calls.NewAuthInfo(stream.Info), next: first,
		made: make(map[uint32]*inbox), served: make(map[uint32]*toyHandling),
		lost: make(chan struct{}), failed: make(chan struct{}),
	}
	c.unary = calls.ChainUnaryClient(calls.ApplicationUnary(cfg.Unary, cfg.IsControl), c.invoke)
	c.open = calls.ChainStreamClient(calls.ApplicationStream(cfg.Stream, cfg.IsControl), c.begin)
	c.reader.Go(c.read)
	return c
}

// write sends a frame.
func (c *toyConn) write(kind byte, id uint32, payload []byte) error {
	b := make([]byte, toyHeader, toyHeader+len(payload))
	b[0] = kind
	binary.BigEndian.PutUint32(b[1:], id)
	binary.BigEndian.PutUint32(b[5:], uint32(len(payload)))
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.stream.Write(append(b, payload...))
	return err
}

func (c *toyConn) read() {
	defer c.lose()
	var header [toyHeader]byte
	for {
		if _, err := io.ReadFull(c.stream, header[:]); err != nil {
			return
		}
		n := binary.BigEndian.Uint32(header[5:])
		if n > maxToyFrame {
			return
		}
		payload := make([]byte, n)
		if _, err := io.ReadFull(c.stream, payload); err != nil {
			return
		}
		if header[0] == frameBye {
			return
		}
		c.take(header[0], binary.BigEndian.Uint32(header[1:]), payload)
	}
}

// lose is the end of the connection.
func (c *toyConn) lose() {
	_ = c.stream.Close() // it is over
	c.mu.Lock()
	c.broken = true
	made, served := c.made, c.served
	c.made, c.served = nil, nil
	c.mu.Unlock()
	close(c.lost)
	for _, in := range made {
		in.end(errToyLost)
	}
	for _, s := range served {
		s.cancel()
		s.in.end(status.FromContextError(context.Canceled).Err())
	}
}

var errToyLost = errors.New("the connection is lost")

// take handles a frame.
func (c *toyConn) take(kind byte, id uint32, payload []byte) {
	c.mu.Lock()
	in, s := c.made[id], c.served[id]
	c.mu.Unlock()
	switch {
	case kind == frameBegin:
		c.serve(id, payload)
	case in != nil && kind == frameMessage:
		in.put(payload)
	case in != nil && kind == frameEnd:
		var st spb.Status
		if err := proto.Unmarshal(payload, &st); err != nil {
			in.end(status.Error(codes.Internal, err.Error()))
			return
		}
		in.end(status.ErrorProto(&st))
	case s != nil && kind == frameMessage:
		s.in.put(payload)
	case s != nil && kind == frameHalf:
		s.in.end(nil)
	case s != nil && kind == frameCancel:
		s.cancel()
		s.in.end(status.FromContextError(context.Canceled).Err())
	}
}

// toyHandling is a call of the other side. It is a [grpc.ServerStream].
type toyHandling struct {
	conn    *toyConn
	id      uint32
	ctx     context.Context //nolint:containedctx // the call's
	cancel  context.CancelFunc
	in      *inbox
	endOnce sync.Once
}

var _ grpc.ServerStream = (*toyHandling)(nil)

type toyCallKey struct{}

// serve begins a call of the other side.
func (c *toyConn) serve(id uint32, payload []byte) {
	var b beginning
	s := &toyHandling{conn: c, id: id, in: newInbox(), cancel: func() {}}
	if err := json.Unmarshal(payload, &b); err != nil || c.server == nil {
		go s.end(status.Errorf(codes.Unimplemented, "this side serves nothing: %v", err))
		return
	}
	m, ok := c.server.table.Method(b.Method)
	if !ok {
		go s.end(status.Errorf(codes.Unimplemented, "unknown method %s", b.Method))
		return
	}
	ctx := peer.NewContext(context.Background(), &peer.Peer{Addr: c.stream.RemoteAddr(), AuthInfo: c.auth})
	ctx = metadata.NewIncomingContext(context.WithValue(ctx, toyCallKey{}, s), b.Metadata)
	if b.Deadline.IsZero() {
		s.ctx, s.cancel = context.WithCancel(ctx)
	} else {
		s.ctx, s.cancel = context.WithDeadline(ctx, b.Deadline)
	}
	c.mu.Lock()
	if c.served == nil {
		c.mu.Unlock()
		s.cancel()
		return
	}
	c.served[id] = s
	c.mu.Unlock()
	c.server.handlers.Go(func() { s.run(m) })
}

func (s *toyHandling) run(m calls.Method) {
	var err error
	defer func() { s.end(err) }()
	if m.Stream != nil {
		err = m.Stream.Handler(m.Service, s)
		return
	}
	var resp any
	resp, err = m.Unary(m.Service, s.ctx, s.RecvMsg, nil)
	if err == nil {
		err = s.SendMsg(resp)
	}
}

// end sends the status of the call.
func (s *toyHandling) end(err error) {
	s.endOnce.Do(func() {
		s.cancel()
		s.conn.mu.Lock()
		delete(s.conn.served, s.id)
		s.conn.mu.Unlock()
		st, ok := status.FromError(err)
		if !ok {
			st = status.FromContextError(err) // as grpc does
		}
		b, _ := proto.Marshal(st.Proto())   // a status can always be marshalled
		_ = s.conn.write(frameEnd, s.id, b) // fails only if the connection is lost
	})
}

// Context implements [grpc.ServerStream].
func (s *toyHandling) Context() context.Context { return s.ctx }

// SetHeader implements [grpc.ServerStream].
func (*toyHandling) SetHeader(metadata.MD) error { return nil }

// SendHeader implements [grpc.ServerStream].
func (*toyHandling) SendHeader(metadata.MD) error { return nil }

// SetTrailer implements [grpc.ServerStream].
func (*toyHandling) SetTrailer(metadata.MD) {}

// SendMsg implements [grpc.ServerStream].
func (s *toyHandling) SendMsg(m any) error {
	return s.conn.send(s.id, m, s.conn.server.cfg.MaxMessageSize)
}

// RecvMsg implements [grpc.ServerStream].
func (s *toyHandling) RecvMsg(m any) error {
	return receive(s.ctx, s.in, m, s.conn.server.cfg.MaxMessageSize)
}

func (c *toyConn) send(id uint32, m any, limit int) error {
	b, err := proto.Marshal(m.(proto.Message))
	if err != nil {
		return status.Error(codes.Internal, err.Error())
	}
	if len(b) > limit {
		return calls.TooLarge("send", len(b), limit)
	}
	if c.write(frameMessage, id, b) != nil {
		return status.Error(codes.Unavailable, errToyLost.Error())
	}
	return nil
}

// receive returns io.EOF at the end of the messages.
func receive(ctx context.Context, in *inbox, m any, limit int) error {
	b, err := in.get(ctx)
	if err != nil {
		return err
	}
	if len(b) > limit {
		return calls.TooLarge("receive", len(b), limit)
	}
	return proto.Unmarshal(b, m.(proto.Message))
}

// Invoke implements [grpc.ClientConnInterface].
func (c *toyConn) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return c.unary(ctx, method, args, reply, nil, opts...)
}

// NewStream implements [grpc.ClientConnInterface].
func (c *toyConn) NewStream(ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return c.open(ctx, desc, nil, method, opts...)
}

func (c *toyConn) invoke(ctx context.Context, method string, args, reply any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
	s, err := c.newStream(ctx, &grpc.StreamDesc{}, method)
	if err != nil {
		return err
	}
	if err := s.SendMsg(args); err != nil && !errors.Is(err, io.EOF) {
		_ = c.write(frameCancel, s.id, nil) // fails only if the connection is lost
		s.finish()
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return s.RecvMsg(reply)
}

// begin is a [grpc.Streamer].
func (c *toyConn) begin(ctx context.Context, desc *grpc.StreamDesc, _ *grpc.ClientConn, method string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
	s, err := c.newStream(ctx, desc, method)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (c *toyConn) newStream(ctx context.Context, desc *grpc.StreamDesc, method string) (*toyStream, error) {
	b := beginning{Method: method}
	b.Metadata, _ = metadata.FromOutgoingContext(ctx)
	b.Deadline, _ = ctx.Deadline()
	payload, err := json.Marshal(b)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	if err := ctx.Err(); err != nil {
		return nil, status.FromContextError(err).Err()
	}
	s := &toyStream{conn: c, desc: desc, ctx: ctx, in: newInbox()}
	c.mu.Lock()
	if c.broken {
		c.mu.Unlock()
		return nil, c.explain(ctx, errToyLost)
	}
	s.id = c.next
	c.next += 2
	c.made[s.id] = s.in
	c.mu.Unlock()
	if c.write(frameBegin, s.id, payload) != nil {
		return nil, c.explain(ctx, errToyLost)
	}
	s.stop = context.AfterFunc(ctx, func() {
		s.in.end(status.FromContextError(ctx.Err()).Err())
		_ = c.write(frameCancel, s.id, nil) // fails only if the connection is lost
	})
	return s, nil
}

// explain replaces errToyLost by the reason of the loss.
func (c *toyConn) explain(ctx context.Context, err error) error {
	if !errors.Is(err, errToyLost) {
		if s := status.Convert(err); s.Code() == codes.DeadlineExceeded && c.cfg.Stalled != nil {
			if why := c.cfg.Stalled(); why != "" {
				return status.Error(s.Code(), s.Message()+": "+why)
			}
		}
		return err
	}
	select {
	case <-c.failed:
		return calls.LostError(nil, c.reason)
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

// toyStream is a call of this side. It is a [grpc.ClientStream].
type toyStream struct {
	conn *toyConn
	id   uint32
	desc *grpc.StreamDesc
	ctx  context.Context //nolint:containedctx // the caller's
	in   *inbox
	stop func() bool
}

var _ grpc.ClientStream = (*toyStream)(nil)

// Header implements [grpc.ClientStream].
func (*toyStream) Header() (metadata.MD, error) { return metadata.MD{}, nil }

// Trailer implements [grpc.ClientStream].
func (*toyStream) Trailer() metadata.MD { return metadata.MD{} }

// Context implements [grpc.ClientStream].
func (s *toyStream) Context() context.Context { return s.ctx }

// CloseSend implements [grpc.ClientStream].
func (s *toyStream) CloseSend() error {
	_ = s.conn.write(frameHalf, s.id, nil) // RecvMsg says that the connection is lost
	return nil
}

// SendMsg implements [grpc.ClientStream].
func (s *toyStream) SendMsg(m any) error {
	if s.in.isOver() {
		return io.EOF // RecvMsg has the status
	}
	err := s.conn.send(s.id, m, s.conn.cfg.MaxMessageSize)
	if status.Code(err) == codes.Unavailable {
		return io.EOF
	}
	return err
}

// RecvMsg implements [grpc.ClientStream].
func (s *toyStream) RecvMsg(m any) error {
	err := receive(context.Background(), s.in, m, s.conn.cfg.MaxMessageSize)
	if err == nil && !s.desc.ServerStreams {
		if err = receive(context.Background(), s.in, m, s.conn.cfg.MaxMessageSize); errors.Is(err, io.EOF) {
			err = nil
		}
		s.finish()
		return s.conn.explain(s.ctx, err)
	}
	if err != nil {
		s.finish()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = s.conn.explain(s.ctx, err)
	}
	return err
}

// finish forgets the call.
func (s *toyStream) finish() {
	s.stop()
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	delete(s.conn.made, s.id)
}

// Plain implements [calls.Client].
func (c *toyConn) Plain() grpc.ClientConnInterface { return c }

// Reach implements [calls.Client].
func (c *toyConn) Reach(context.Context) error {
	if c.Broken() {
		return net.ErrClosed
	}
	return nil
}

// Lost implements [calls.Client].
func (c *toyConn) Lost() <-chan struct{} { return c.lost }

// Broken implements [calls.Client].
func (c *toyConn) Broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.broken
}

// Fail implements [calls.Client].
func (c *toyConn) Fail(reason error) {
	c.failOnce.Do(func() {
		c.reason = reason
		close(c.failed)
		_ = c.stream.Close() // no call is left on it
	})
}

// Close implements [calls.Client].
func (c *toyConn) Close() {
	c.Fail(net.ErrClosed)
	c.reader.Wait()
}

// inbox holds the messages of one call in one direction.
type inbox struct {
	mu      sync.Mutex // guards the fields below
	list    [][]byte
	over    bool
	err     error         // after the messages; nil for their end
	changed chan struct{} // closed, and made again, with each change
}

func newInbox() *inbox { return &inbox{changed: make(chan struct{})} }

func (i *inbox) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.over {
		return
	}
	f()
	close(i.changed)
	i.changed = make(chan struct{})
}

func (i *inbox) put(b []byte) { i.change(func() { i.list = append(i.list, b) }) }

func (i *inbox) end(err error) { i.change(func() { i.over, i.err = true, err }) }

func (i *inbox) isOver() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.over
}

// get returns the next message, or io.EOF.
func (i *inbox) get(ctx context.Context) ([]byte, error) {
	for {
		i.mu.Lock()
		list, over, err, changed := i.list, i.over, i.err, i.changed
		if len(list) > 0 {
			i.list = list[1:]
		}
		i.mu.Unlock()
		switch {
		case len(list) > 0:
			return list[0], nil
		case over && err == nil:
			return nil, io.EOF
		case over:
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}
