// Package duplex is the handler that tests of calls in both directions run on
// both sides.
package duplex

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
)

// Handler implements duplexpb.DuplexHandler.
type Handler struct {
	// Other returns the connection to the other side.
	Other func(ctx context.Context) grpc.ClientConnInterface
	// Open and Accept open and accept a named stream; nil on the side that does
	// not use them.
	Open, Accept func(ctx context.Context, name string) (net.Conn, error)

	// Holding, if not nil, is sent to by each Hold that has reached its depth,
	// and Released by each whose context has ended.
	Holding, Released chan<- struct{}
	// Detached, if not nil, is sent the outcome of each Detach.
	Detached chan<- error
}

var _ duplexpb.DuplexHandler = (*Handler)(nil)

func (h *Handler) other(ctx context.Context) duplexpb.DuplexClient {
	return duplexpb.NewDuplexClient(h.Other(ctx))
}

// Descend goes down.
func (h *Handler) Descend(ctx context.Context, req *duplexpb.Descent) (*duplexpb.Descent, error) {
	if req.GetDepth() == 0 {
		return &duplexpb.Descent{}, nil
	}
	resp, err := h.other(ctx).Descend(ctx, &duplexpb.Descent{Depth: req.GetDepth() - 1})
	if err != nil {
		return nil, err
	}
	return &duplexpb.Descent{Depth: resp.GetDepth() + 1}, nil
}

// Hold goes down and waits there.
func (h *Handler) Hold(ctx context.Context, req *duplexpb.Descent) (*duplexpb.Descent, error) {
	if req.GetDepth() > 0 {
		return h.other(ctx).Hold(ctx, &duplexpb.Descent{Depth: req.GetDepth() - 1})
	}
	if h.Holding != nil {
		h.Holding <- struct{}{}
	}
	<-ctx.Done()
	if h.Released != nil {
		h.Released <- struct{}{}
	}
	return nil, status.FromContextError(ctx.Err()).Err()
}

// Relay passes a stream on.
func (h *Handler) Relay(stream grpc.BidiStreamingServer[duplexpb.Chunk, duplexpb.Chunk]) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	if first.GetDepth() == 0 {
		for chunk := first; ; {
			if err := stream.Send(chunk); err != nil {
				return err
			}
			if chunk, err = stream.Recv(); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
	below, err := h.other(stream.Context()).Relay(stream.Context())
	if err != nil {
		return err
	}
	down := make(chan error, 1)
	go func() { down <- sendDown(stream, below, first) }()
	for {
		chunk, err := below.Recv()
		if errors.Is(err, io.EOF) {
			return <-down
		}
		if err != nil {
			return err
		}
		if err := stream.Send(chunk); err != nil {
			return err
		}
	}
}

func sendDown(from grpc.BidiStreamingServer[duplexpb.Chunk, duplexpb.Chunk], to grpc.BidiStreamingClient[duplexpb.Chunk, duplexpb.Chunk], chunk *duplexpb.Chunk) error {
	for {
		err := to.Send(&duplexpb.Chunk{Depth: chunk.GetDepth() - 1, Data: chunk.GetData()})
		if err != nil {
			return err
		}
		chunk, err = from.Recv()
		if errors.Is(err, io.EOF) {
			return to.CloseSend()
		}
		if err != nil {
			return err
		}
	}
}

// Detach keeps working after it has returned.
func (h *Handler) Detach(ctx context.Context, req *duplexpb.Descent) (*duplexpb.Descent, error) {
	after := context.WithoutCancel(ctx)
	go func() {
		<-ctx.Done() // grpc ends it when the handler has returned
		_, err := h.Descend(after, req)
		if h.Detached != nil {
			h.Detached <- err
		}
	}()
	return &duplexpb.Descent{}, nil
}

// Fail fails on the side that the request names.
func (h *Handler) Fail(ctx context.Context, req *duplexpb.Failure) (*duplexpb.Chunk, error) {
	switch {
	case req.GetDepth() > 0:
		return h.other(ctx).Fail(ctx, &duplexpb.Failure{How: req.GetHow(), Depth: req.GetDepth() - 1})
	case req.GetHow() == "panic":
		panic("asked to panic")
	default:
		return nil, status.Error(codes.FailedPrecondition, req.GetHow())
	}
}

// Join sends and receives on a named stream, both at once.
func (h *Handler) Join(ctx context.Context, req *duplexpb.StreamOrder) (*duplexpb.StreamReport, error) {
	meet := h.Accept
	if req.GetOpen() {
		meet = h.Open
	}
	conn, err := meet(ctx, req.GetName())
	if err != nil {
		return nil, err
	}
	report, err := Exchange(conn, req.GetBytes())
	return report, errors.Join(err, conn.Close())
}

// Exchange sends n bytes of [Pattern] and ends its direction. Meanwhile it
// checks and counts the received bytes until the other end does the same.
func Exchange(conn net.Conn, n int64) (*duplexpb.StreamReport, error) {
	var report duplexpb.StreamReport
	var sent, received error
	var both sync.WaitGroup
	both.Go(func() {
		if _, sent = io.CopyN(conn, &Pattern{}, n); sent == nil {
			sent = conn.(interface{ CloseWrite() error }).CloseWrite()
		}
		if sent != nil {
			sent = errors.Join(fmt.Errorf("send: %w", sent), conn.Close())
		}
	})
	both.Go(func() {
		if _, received = io.CopyBuffer(&checker{report: &report}, conn, make([]byte, 64<<10)); received != nil {
			received = errors.Join(fmt.Errorf("receive: %w", received), conn.Close())
		}
	})
	both.Wait()
	return &report, errors.Join(sent, received)
}

// Receive reads n bytes of [Pattern].
func Receive(conn net.Conn, n int64) (*duplexpb.StreamReport, error) {
	var report duplexpb.StreamReport
	_, err := io.CopyN(&checker{report: &report}, conn, n)
	return &report, err
}

// patternLen is prime, so that a lost or duplicate piece is noticed.
const patternLen = 65521

var pattern = func() (p [2 * patternLen]byte) {
	for i := range p {
		j := i % patternLen
		p[i] = byte(j>>8) ^ byte(j)
	}
	return p
}()

// Pattern is an endless stream of bytes.
type Pattern struct{ at int }

// Read implements [io.Reader].
func (p *Pattern) Read(b []byte) (int, error) {
	n := copy(b, pattern[p.at:])
	p.at = (p.at + n) % patternLen
	return n, nil
}

// checker is a writer that checks for a Pattern.
type checker struct {
	want   Pattern
	buf    []byte
	report *duplexpb.StreamReport
}

// heapEvery is how many bytes pass between two measurements of the heap.
const heapEvery = 16 << 20

// Write implements [io.Writer].
func (c *checker) Write(b []byte) (int, error) {
	if cap(c.buf) < len(b) {
		c.buf = make([]byte, len(b))
	}
	want := c.buf[:len(b)]
	if _, err := io.ReadFull(&c.want, want); err != nil {
		return 0, err
	}
	if string(want) != string(b) {
		return 0, fmt.Errorf("wrong bytes after %d", c.report.GetReceived())
	}
	before := c.report.GetReceived()
	c.report.Received += int64(len(b))
	if before/heapEvery != c.report.GetReceived()/heapEvery {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		c.report.Heap = max(c.report.GetHeap(), m.HeapInuse)
	}
	return len(b), nil
}
