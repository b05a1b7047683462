//go:build linux

package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// Config has the callers' expectations of their plugin.
type Config struct {
	Dir       string // directory with the files
	Callers   int
	Callbacks bool // whether the plugin calls back
	// Dead reports whether an error is allowed for a call that the end of the
	// plugin has ended.
	Dead func(error) bool
}

// ExitError is Dead for callers in a host on Plugwire.
func ExitError(err error) bool {
	var exit *host.ExitError
	return errors.As(err, &exit)
}

// A Load is many callers of one plugin, of all kinds. They call until the plugin
// has ended or Stop is called.
type Load struct {
	cfg     Config
	echo    echopb.EchoClient
	duplex  duplexpb.DuplexClient
	acked   *os.File
	next    atomic.Uint64 // number of the last write
	stop    context.CancelFunc
	ctx     context.Context //nolint:containedctx // the life of the callers
	callers sync.WaitGroup
	orderly atomic.Bool

	mu     sync.Mutex // guards the fields below
	calls  int
	broken []string // broken promises, with the call
}

// Start starts the callers.
func Start(conn grpc.ClientConnInterface, cfg Config) (*Load, error) {
	acked, err := os.OpenFile(filepath.Join(cfg.Dir, ackedFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	l := &Load{cfg: cfg, echo: echopb.NewEchoClient(conn), duplex: duplexpb.NewDuplexClient(conn), acked: acked}
	l.next.Store(uint64(time.Now().UnixNano())) // the files may also be from an earlier plugin
	l.ctx, l.stop = context.WithCancel(context.Background())
	kinds := l.kinds()
	for i := range cfg.Callers {
		l.callers.Go(func() { l.repeat(kinds[i%len(kinds)]) })
	}
	return l, nil
}

// Orderly says that the plugin is asked to end, and may refuse calls from now on.
func (l *Load) Orderly() { l.orderly.Store(true) }

// Wait waits until all callers have ended, but at most for the given time. It
// returns the number of their calls, and the broken promises.
func (l *Load) Wait(within time.Duration) (calls int, broken []string) {
	ended := make(chan struct{})
	go func() {
		l.callers.Wait()
		close(ended)
	}()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		l.breach("some calls have not ended %v after the plugin", within)
		l.stop()
		<-ended
	}
	l.stop()
	if err := l.acked.Close(); err != nil {
		l.breach("%v", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.calls, l.broken
}

func (l *Load) breach(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const enough = 5 // a few of one kind show what is wrong
	if len(l.broken) < enough {
		l.broken = append(l.broken, fmt.Sprintf(format, args...))
	}
}

// A kind makes one call, or one stream, with its own context.
type kind struct {
	name string
	call func(ctx context.Context) error
	// within bounds the call, unless it is zero. cancelled does the same by a
	// cancellation.
	within, cancelled time.Duration
}

func (l *Load) kinds() []kind {
	small, large := []byte("small"), make([]byte, 1<<20)
	unary := func(data []byte) func(context.Context) error {
		return func(ctx context.Context) error {
			got, err := l.echo.Unary(ctx, &echopb.Payload{Data: data})
			if err == nil && len(got.GetData()) != len(data) {
				return fmt.Errorf("%d bytes came back of %d", len(got.GetData()), len(data))
			}
			return err
		}
	}
	wait := func(ctx context.Context) error {
		_, err := l.echo.Fail(ctx, &echopb.FailRequest{How: "wait"})
		return err
	}
	kinds := []kind{
		{name: "unary", call: unary(small)},
		{name: "unary of 1 MiB", call: unary(large)},
		{name: "write", call: l.write},
		{name: "download", call: l.download},
		{name: "upload", call: l.upload},
		{name: "chat", call: l.chat},
		{name: "deadline", call: wait, within: 3 * time.Millisecond},
		{name: "cancellation", call: wait, cancelled: 3 * time.Millisecond},
		{name: "wait", call: wait},
	}
	if l.cfg.Callbacks {
		kinds = append(kinds, kind{name: "callback", call: func(ctx context.Context) error {
			_, err := l.duplex.Descend(ctx, &duplexpb.Descent{Depth: 3})
			return err
		}})
	}
	return kinds
}

// repeat makes calls of one kind until the plugin has ended.
func (l *Load) repeat(k kind) {
	for l.ctx.Err() == nil {
		began := time.Now()
		ctx, cancel := context.WithCancel(l.ctx)
		if k.within > 0 {
			ctx, cancel = context.WithTimeout(l.ctx, k.within)
		}
		if k.cancelled > 0 {
			time.AfterFunc(k.cancelled, cancel)
		}
		err := k.call(ctx)
		cause := ctx.Err()
		if cause == nil && k.within > 0 && time.Since(began) >= k.within-time.Millisecond {
			cause = context.DeadlineExceeded // the plugin's clock may be first
		}
		cancel()
		l.mu.Lock()
		l.calls++
		l.mu.Unlock()
		if !l.goesOn(k, err, cause) {
			return
		}
	}
}

// goesOn compares the outcome of a call with the promises, and reports whether
// the plugin is still running.
func (l *Load) goesOn(k kind, err, cause error) bool {
	switch {
	case err == nil:
		return true
	case l.cfg.Dead(err):
		return false
	case errors.Is(cause, context.DeadlineExceeded) && status.Code(err) == codes.DeadlineExceeded,
		errors.Is(cause, context.Canceled) && status.Code(err) == codes.Canceled:
		return l.ctx.Err() == nil
	case l.orderly.Load() && status.Code(err) == codes.Unavailable && (strings.Contains(err.Error(), "shutting down") || errors.Is(err, net.ErrClosed)):
		return false
	case l.orderly.Load() && k.name == "wait" && status.Code(err) == codes.Canceled: // the handler has ended the call, because it was asked to
		return false
	default:
		l.breach("%s, whose context ended with %v: %v", k.name, cause, err)
		return false
	}
}

// write records that a write was acknowledged, after it was.
func (l *Load) write(ctx context.Context) error {
	n := l.next.Add(1)
	if _, err := l.echo.Fail(ctx, &echopb.FailRequest{How: fmt.Sprintf("write:%d", n)}); err != nil {
		return err
	}
	_, err := fmt.Fprintln(l.acked, n)
	return err
}

func (l *Load) download(ctx context.Context) error {
	const count, size = 16, 16 << 10
	stream, err := l.echo.Download(ctx, &echopb.DownloadRequest{Count: count, Size: size})
	if err != nil {
		return err
	}
	for n := 0; ; n++ {
		_, err := stream.Recv()
		if errors.Is(err, io.EOF) && n < count {
			return fmt.Errorf("%d messages of %d", n, count)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (l *Load) upload(ctx context.Context) error {
	const count, size = 16, 16 << 10
	stream, err := l.echo.Upload(ctx)
	if err != nil {
		return err
	}
	payload := &echopb.Payload{Data: make([]byte, size)}
	for range count {
		if err := stream.Send(payload); err != nil && !errors.Is(err, io.EOF) { // CloseAndRecv has the reason
			return err
		}
	}
	sum, err := stream.CloseAndRecv()
	if err == nil && sum.GetMessages() != count {
		return fmt.Errorf("%d messages of %d", sum.GetMessages(), count)
	}
	return err
}

func (l *Load) chat(ctx context.Context) error {
	const rounds = 100
	stream, err := l.echo.Chat(ctx)
	if err != nil {
		return err
	}
	for range rounds {
		if err := stream.Send(&echopb.Payload{Data: []byte("chat")}); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
	if err := stream.CloseSend(); err != nil {
		return err
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// LostWrites returns the numbers that were acknowledged and are not in the ledger.
func LostWrites(dir string) ([]string, error) {
	acked, err := os.ReadFile(filepath.Join(dir, ackedFile))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	ledger, err := os.ReadFile(filepath.Join(dir, ledgerFile))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	written := make(map[string]bool)
	for line := range strings.Lines(string(ledger)) {
		written[line] = true
	}
	var lost []string
	for line := range strings.Lines(string(acked)) {
		if strings.HasSuffix(line, "\n") && !written[line] { // a host that is killed may leave half a line
			lost = append(lost, strings.TrimSpace(line))
		}
	}
	return lost, nil
}
