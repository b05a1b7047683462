package differential

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding/gzip"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

const (
	// hang is how long a step may take.
	hang = time.Minute
	// hangShrinking is how long a step may take while a program that hangs is shrunk.
	hangShrinking = 5 * time.Second
)

// call is a call of a running program.
type call struct {
	id      string
	notes   notes
	caller  *worker
	handler *worker

	began        chan struct{} // closed when the handler runs; handling is set then
	handling     *handling
	callerEnded  chan struct{} // closed by the last event of each side
	handlerEnded chan struct{}
	trailerSent  chan struct{} // closed by the handler's event of the trailer
	headerSeen   chan struct{} // closed by the caller's event of the header
	finished     chan struct{} // closed by OnFinish
	trailerOnce  sync.Once     // closes trailerSent
	headerOnce   sync.Once     // closes headerSeen
	callerOnce   sync.Once     // closes callerEnded
	handlerOnce  sync.Once     // closes handlerEnded

	// The fields below belong to the goroutine of caller, except ctx and cancel, which are
	// set before it begins.
	ctx      context.Context //nolint:containedctx // the caller's
	cancel   context.CancelFunc
	deadline time.Time
	stream   grpc.ClientStream

	finishes bool // the caller has asked for OnFinish; set before the call begins
}

// handling is a run of a handler. Its fields belong to the goroutine of the handler.
type handling struct {
	call     *call
	ctx      context.Context   //nolint:containedctx // the handler's
	stream   grpc.ServerStream // nil if the call is unary
	request  *testpb.Payload   // of a unary call
	reply    *testpb.Payload
	returned bool
	err      error // what the handler returns
}

// job is a step that a side performs.
type job struct {
	step   step
	do     func() string
	result string
	done   chan struct{} // closed when result is set
}

// worker performs the steps of one side of a call, one after the other.
type worker struct{ jobs chan *job }

// maxSteps bounds the steps of one side that wait.
const maxSteps = 1000

func newWorker() *worker { return &worker{jobs: make(chan *job, maxSteps)} }

// work performs jobs until their channel is closed.
func (w *worker) work() {
	for j := range w.jobs {
		j.result = j.do()
		close(j.done)
	}
}

// serve performs the handler's steps until one of them returns from the handler.
func (c *call) serve(h *handling) error {
	c.handling = h
	close(c.began)
	for j := range c.handler.jobs {
		switch j.step.op {
		case "panic", "goexit":
			h.returned = true
			j.result = "ok"
			close(j.done)
			if j.step.op == "panic" {
				panic("the program says so")
			}
			runtime.Goexit()
		default:
			j.result = h.do(j.step)
			close(j.done)
			if h.returned {
				return h.err
			}
		}
	}
	return status.Error(codes.Aborted, "the program has ended")
}

// errTooSlow is the error of a run in which a deadline passed before its step.
var errTooSlow = errors.New("a deadline passed too early")

// run runs a program over a column, and returns what both sides have seen. scale stretches
// timeouts, and patience is how long a step may take.
func run(col column, p program, scale int, patience time.Duration) (lines []string, err error) {
	r := &runner{column: col, scale: scale, patience: patience, calls: make(map[int]*call)}
	for _, s := range p {
		if r.calls[s.call] == nil {
			r.calls[s.call] = newCall()
		}
		r.expires = r.expires || s.op == "expire"
	}
	defer r.end()
	var jobs []*job
	defer func() {
		if err == nil {
			return
		}
		for _, j := range jobs {
			if isClosed(j.done) {
				lines = append(lines, j.step.String()+" -> "+j.result)
			}
		}
		err = fmt.Errorf("%w\n%s", err, strings.Join(lines, "\n"))
	}()
	for _, s := range p {
		j, err := r.begin(s)
		if err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
		if !s.goOn {
			if err := r.wait(s.String(), j.done); err != nil {
				return nil, err
			}
		}
	}
	for _, j := range jobs {
		if err := r.wait(j.step.String(), j.done); err != nil {
			return nil, err
		}
	}
	if err := r.settle(); err != nil {
		return nil, err
	}
	for _, j := range jobs {
		lines = append(lines, j.step.String()+" -> "+j.result)
	}
	for i := range p {
		if c := r.calls[i]; c != nil {
			for _, line := range c.notes.lines() {
				lines = append(lines, fmt.Sprintf("%d %s", i, line))
			}
		}
	}
	return lines, nil
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// wait waits for a step.
func (r *runner) wait(what string, done <-chan struct{}) error {
	timer := time.NewTimer(r.patience)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return fmt.Errorf("%s: nothing after %v", what, r.patience)
	}
}

// runner runs one program.
type runner struct {
	column   column
	scale    int
	patience time.Duration
	expires  bool // a later step waits until a deadline has passed
	calls    map[int]*call
}

func newCall() *call {
	c := &call{
		id:           rand.Text(),
		caller:       newWorker(),
		handler:      newWorker(),
		began:        make(chan struct{}),
		callerEnded:  make(chan struct{}),
		handlerEnded: make(chan struct{}),
		trailerSent:  make(chan struct{}),
		headerSeen:   make(chan struct{}),
		finished:     make(chan struct{}),
	}
	running.Store(c.id, c)
	c.ctx, c.cancel = context.WithCancel(context.WithValue(context.Background(), callKey{}, c))
	go c.caller.work()
	return c
}

// end ends what a failed program has left, and forgets its calls.
func (r *runner) end() {
	for _, c := range r.calls {
		c.cancel()
		close(c.caller.jobs)
		close(c.handler.jobs)
		running.Delete(c.id)
	}
}

// begin gives a step to its side.
func (r *runner) begin(s step) (*job, error) {
	c := r.calls[s.call]
	j := &job{step: s, done: make(chan struct{})}
	if s.side == 's' {
		if err := r.awaitHandler(c, s); err != nil {
			return nil, err
		}
		c.handler.jobs <- j
		return j, nil
	}
	if s.op == "cancel" {
		c.cancel()
		j.result = "ok"
		close(j.done)
		return j, nil
	}
	if s.op == "open" || s.op == "invoke" {
		if err := r.setContext(c, s); err != nil {
			return nil, err
		}
	}
	if s.op == "expire" {
		if !time.Now().Before(c.deadline) {
			return nil, errTooSlow
		}
		// The handler's own clock may be first: then the call can still be answered.
		c.notes.mute(handlersStats, callersStats+receivedTrailer)
		<-c.ctx.Done()
		r.expires = false
		j.result = c.ctx.Err().Error()
		close(j.done)
		return j, nil
	}
	conn := r.column.conn
	if s.has("via") {
		via := r.calls[s.int("via", 0)]
		if err := r.awaitHandler(via, s); err != nil {
			return nil, err
		}
		conn = r.column.back(via.handling.ctx)
	}
	j.do = func() string { return c.do(s, conn) }
	c.caller.jobs <- j
	return j, nil
}

// awaitHandler waits for the handler of a call to begin, for a step.
func (r *runner) awaitHandler(c *call, s step) error {
	ended := c.ctx.Done()
	if !r.expires { // a program that cancels a call does that later
		ended = nil
	}
	timer := time.NewTimer(r.patience)
	defer timer.Stop()
	select {
	case <-c.began:
		return nil
	case <-ended:
		return errTooSlow
	case <-timer.C:
		return fmt.Errorf("the beginning of the handler, for %s: nothing after %v", s, r.patience)
	}
}

// setContext makes the context of a call.
func (r *runner) setContext(c *call, s step) error {
	c.finishes = s.has("onfinish")
	if s.has("unsent") {
		c.notes.mute(handlersStats)
	}
	if s.has("refused") || s.has("unended") {
		c.notes.mute(callersStats)
	}
	if s.has("leaves") {
		c.notes.mute(callersStats + receivedTrailer)
	}
	md := s.metadata()
	md.Set(idKey, c.id)
	parent := c.ctx      // which a step before may have cancelled
	if s.has("parent") { // the context of the handler that calls
		via := r.calls[s.int("via", 0)]
		if err := r.awaitHandler(via, s); err != nil {
			return err
		}
		parent = context.WithValue(via.handling.ctx, callKey{}, c)
	}
	ctx, cancel := context.WithCancel(metadata.NewOutgoingContext(parent, md))
	c.cancel = cancel
	if d := s.timeout(); d != 0 {
		c.deadline = time.Now().Add(d * time.Duration(r.scale))
		ctx, c.cancel = context.WithDeadline(ctx, c.deadline)
		context.AfterFunc(ctx, cancel)
	}
	c.ctx = ctx
	return nil
}

// settle waits for the last events of the calls, and ends what the program has left.
// Observers do not note what that changes.
func (r *runner) settle() error {
	for i, c := range r.calls {
		if err := r.awaitRefusal(i, c); err != nil {
			return err
		}
	}
	for _, c := range r.calls {
		if !isClosed(c.began) || !c.handling.returned {
			c.notes.mute(handlersStats, "handler's interceptor")
		}
	}
	for i, c := range r.calls {
		c.cancel()
		if c.notes.has(callersStats, "begin") { // grpc-go has no events of calls that fail before
			if err := r.wait(fmt.Sprintf("the last event of the caller of call %d", i), c.callerEnded); err != nil {
				return err
			}
			if c.finishes { // grpc-go calls OnFinish after the last event
				if err := r.wait(fmt.Sprintf("OnFinish of call %d", i), c.finished); err != nil {
					return err
				}
			}
		}
		if !isClosed(c.began) {
			continue
		}
		// A handler that has not returned is told to.
		end := &job{step: step{op: "return", args: []arg{{"code", "10"}, {"msg", "the+end"}}}, done: make(chan struct{})}
		c.handler.jobs <- end
		if err := r.wait(fmt.Sprintf("the last event of the handler of call %d", i), c.handlerEnded); err != nil {
			return err
		}
	}
	return nil
}

// awaitRefusal waits for the last events of a call that a server has answered without a
// handler: it has no such method, or gets the wrong number of messages. The server sends the
// answer before it tells the stats handlers.
func (r *runner) awaitRefusal(i int, c *call) error {
	if isClosed(c.began) || !c.notes.has(handlersStats, "in header") {
		return nil
	}
	if err := r.wait(fmt.Sprintf("the trailer of call %d", i), c.trailerSent); err != nil {
		return err
	}
	if !c.notes.has(handlersStats, "begin") { // grpc-go has only these events of an unknown method
		return nil
	}
	return r.wait(fmt.Sprintf("the last event of the server of call %d", i), c.handlerEnded)
}

// do performs a step of the caller.
func (c *call) do(s step, conn grpc.ClientConnInterface) string {
	if c.stream == nil && (s.op != "open" && s.op != "invoke" && s.op != "join") {
		return "no stream"
	}
	switch s.op {
	case "invoke":
		return c.invoke(s, conn)
	case "open":
		return c.open(s, conn)
	case "join":
		return "ok"
	case "send":
		return errText(c.stream.SendMsg(payload(s.number())))
	case "half":
		return errText(c.stream.CloseSend())
	case "recv":
		m := new(testpb.Payload)
		if err := c.stream.RecvMsg(m); err != nil {
			return errText(err)
		}
		return describe(m)
	case "drain":
		for n := 0; ; n++ {
			m := new(testpb.Payload)
			if err := c.stream.RecvMsg(m); err != nil {
				return fmt.Sprintf("%d messages, %s", n, errText(err))
			}
		}
	case "header":
		md, err := c.stream.Header()
		if md != nil { // the reader of grpc-go tells the stats handlers after that
			timer := time.NewTimer(hang)
			defer timer.Stop()
			select {
			case <-c.headerSeen:
			case <-timer.C:
				return "the stats handlers do not see the header"
			}
		}
		return mdText(md) + " " + errText(err)
	case "trailer":
		return mdText(c.stream.Trailer())
	default:
		return "unknown step"
	}
}

// results are what options of a call return.
type results struct {
	header, trailer metadata.MD
	peer            peer.Peer
}

func (c *call) options(s step) ([]grpc.CallOption, *results) {
	var opts []grpc.CallOption
	res := new(results)
	for _, a := range s.args {
		switch a.name {
		case "capture":
			opts = append(opts, grpc.Header(&res.header), grpc.Trailer(&res.trailer))
		case "peer":
			opts = append(opts, grpc.Peer(&res.peer))
		case "maxrecv":
			opts = append(opts, grpc.MaxCallRecvMsgSize(s.int("maxrecv", 0)))
		case "maxsend":
			opts = append(opts, grpc.MaxCallSendMsgSize(s.int("maxsend", 0)))
		case "wait":
			opts = append(opts, grpc.WaitForReady(true))
		case "gzip":
			opts = append(opts, grpc.UseCompressor(gzip.Name))
		case "compressor":
			opts = append(opts, grpc.UseCompressor(a.value))
		case "static":
			opts = append(opts, grpc.StaticMethod())
		case "codec":
			opts = append(opts, grpc.ForceCodecV2(newReversed()))
		case "subtype":
			opts = append(opts, grpc.CallContentSubtype(a.value))
		case "authority":
			opts = append(opts, grpc.CallAuthority(a.value))
		case "creds":
			opts = append(opts, grpc.PerRPCCredentials(perCall{call: c, text: a.value}))
		case "onfinish":
			opts = append(opts, grpc.OnFinish(func(err error) {
				c.notes.add("caller's OnFinish", "%s", errText(err))
				close(c.finished)
			}))
		}
	}
	return opts, res
}

func (r *results) text(s step) (text string) {
	if s.has("capture") {
		text += fmt.Sprintf(" header %s trailer %s", mdText(r.header), mdText(r.trailer))
	}
	if s.has("peer") {
		text += " " + peerText(&r.peer)
	}
	return text
}

func peerText(p *peer.Peer) string {
	return fmt.Sprintf("peer: address %t, local %t", p.Addr != nil, p.LocalAddr != nil)
}

// perCall are credentials that add metadata: KEY:VALUE, or an error.
type perCall struct {
	call *call
	text string
}

var _ credentials.PerRPCCredentials = perCall{}

// GetRequestMetadata implements [credentials.PerRPCCredentials].
func (p perCall) GetRequestMetadata(ctx context.Context, uri ...string) (map[string]string, error) {
	info, ok := credentials.RequestInfoFromContext(ctx)
	p.call.notes.add("caller's credentials", "uri %q, method %q %t", uri, info.Method, ok)
	key, value, _ := strings.Cut(p.text, ":")
	switch key {
	case "status":
		return nil, status.Error(codes.PermissionDenied, value)
	case "error":
		return nil, errors.New(value)
	default:
		return map[string]string{key: unquote(value)}, nil
	}
}

// RequireTransportSecurity implements [credentials.PerRPCCredentials].
func (p perCall) RequireTransportSecurity() bool { return strings.HasPrefix(p.text, "secure:") }

func (c *call) invoke(s step, conn grpc.ClientConnInterface) string {
	opts, res := c.options(s)
	reply := new(testpb.Payload)
	method := methods["unary"]
	if s.has("method") {
		method = s.text("method")
	}
	err := conn.Invoke(c.ctx, method, payload(s.number()), reply, opts...)
	if err != nil {
		return errText(err) + res.text(s)
	}
	return describe(reply) + res.text(s)
}

func (c *call) open(s step, conn grpc.ClientConnInterface) string {
	opts, res := c.options(s)
	kind := s.text("kind")
	desc := &grpc.StreamDesc{
		StreamName:    "Stream",
		ClientStreams: kind == "client" || kind == "bidi",
		ServerStreams: kind == "server" || kind == "bidi",
	}
	method := methods[kind]
	if s.has("method") {
		method = s.text("method")
	}
	if s.has("to") { // the kind that the other side has
		method = methods[s.text("to")]
	}
	stream, err := conn.NewStream(c.ctx, desc, method, opts...)
	if err != nil {
		return errText(err) + res.text(s)
	}
	c.stream = stream
	return "ok"
}

// do performs a step of the handler.
func (h *handling) do(s step) string {
	switch s.op {
	case "join":
		return "ok"
	case "recv":
		if h.stream == nil {
			return describe(h.request)
		}
		m := new(testpb.Payload)
		if err := h.stream.RecvMsg(m); err != nil {
			return errText(err)
		}
		return describe(m)
	case "send":
		if h.stream == nil {
			return "not a stream"
		}
		return errText(h.stream.SendMsg(payload(s.number())))
	case "setheader":
		if h.stream != nil && !s.has("byctx") {
			return errText(h.stream.SetHeader(s.metadata()))
		}
		return errText(grpc.SetHeader(h.ctx, s.metadata()))
	case "sendheader":
		if h.stream != nil && !s.has("byctx") {
			return errText(h.stream.SendHeader(s.metadata()))
		}
		return errText(grpc.SendHeader(h.ctx, s.metadata()))
	case "settrailer":
		if h.stream != nil && !s.has("byctx") {
			h.stream.SetTrailer(s.metadata())
			return "ok"
		}
		return errText(grpc.SetTrailer(h.ctx, s.metadata()))
	case "compress":
		return errText(grpc.SetSendCompressor(h.ctx, s.text("with")))
	case "ctx":
		return h.context()
	case "done":
		if _, ok := h.ctx.Deadline(); ok { // of the caller's caller, maybe
			h.call.notes.mute(handlersStats, callersStats+receivedTrailer)
		}
		timer := time.NewTimer(hang)
		defer timer.Stop()
		select {
		case <-h.ctx.Done():
			return fmt.Sprintf("%v, cause %v", h.ctx.Err(), context.Cause(h.ctx))
		case <-timer.C:
			return "the context does not end"
		}
	case "reply":
		h.returned = true
		if h.reply != nil {
			h.reply.Body = payload(s.number()).GetBody()
		}
		return "ok"
	case "return":
		h.returned = true
		h.err = returnedError(h.ctx, s)
		return "ok"
	default:
		return "unknown step"
	}
}

// context describes the context of the handler.
func (h *handling) context() string {
	md, ok := metadata.FromIncomingContext(h.ctx)
	text := fmt.Sprintf("metadata %t %s", ok, mdText(md))
	method, ok := grpc.Method(h.ctx)
	text += fmt.Sprintf(", method %q %t", method, ok)
	if ts := grpc.ServerTransportStreamFromContext(h.ctx); ts != nil {
		text += fmt.Sprintf(", transport stream of %q", ts.Method())
	}
	if p, ok := peer.FromContext(h.ctx); ok {
		text += ", " + peerText(p)
	}
	if deadline, ok := h.ctx.Deadline(); ok {
		// A minute is more than a test takes, and less than its deadlines differ.
		text += fmt.Sprintf(", deadline in %v", time.Until(deadline).Round(10*time.Minute))
	}
	compressors, err := grpc.ClientSupportedCompressors(h.ctx)
	text += fmt.Sprintf(", compressors %q %s", compressors, errText(err))
	_, outgoing := metadata.FromOutgoingContext(h.ctx)
	tag, _ := h.ctx.Value(taggedKey{}).(*tagValue)
	intercepted, _ := h.ctx.Value(interceptedKey{}).(bool)
	caller := h.ctx.Value(callKey{})
	return text + fmt.Sprintf(", outgoing %t, tag of stats %t, value of interceptor %t, value of caller %t, err %v",
		outgoing, tag != nil && tag.info.FullMethodName == method, intercepted, caller != nil, h.ctx.Err())
}

// returnedError returns the error that a step says.
func returnedError(ctx context.Context, s step) error {
	switch s.text("err") {
	case "plain":
		return errors.New("a plain error")
	case "canceled":
		return context.Canceled
	case "deadline":
		return fmt.Errorf("wrapped: %w", context.DeadlineExceeded)
	case "ctx":
		return ctx.Err()
	case "eof":
		return errors.New("EOF")
	}
	st := status.New(codes.Code(s.int("code", 0)), strings.Repeat(unquote(s.text("msg")), s.int("times", 1)))
	if s.has("detail") {
		detailed, err := st.WithDetails(&errdetails.RequestInfo{RequestId: unquote(s.text("detail"))}, &errdetails.ErrorInfo{Domain: "example.com", Reason: "TEST"})
		if err == nil {
			st = detailed
		}
	}
	return st.Err()
}
