package transporttest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"github.com/plugwire/plugwire/core/transport"
)

// checkFiles checks what Prepare and Listen return. It also checks that closing
// everything without a start leaves nothing behind.
func checkFiles(e *env) {
	preparer := e.host.(transport.Preparer)
	p, err := preparer.Prepare(e.Context(), transport.PrepareConfig{Version: slices.Max(e.host.Versions())})
	if err != nil {
		e.Fatalf("Prepare: %v", err)
	}
	e.keep(p.Conn)
	if n := len(p.Files); n < 1 || n > transport.MaxFiles {
		e.Errorf("Prepare returns %d files, want 1 to %d", n, transport.MaxFiles)
	}
	for _, file := range p.Files {
		if err := file.Close(); err != nil {
			e.Errorf("Close of a file: %v", err)
		}
	}
	e.wantEnd(p.Conn, "after all files of Prepare were closed")

	if addr := e.listen().Addr(); addr == nil || addr.Network() == "" {
		e.Errorf("the address of the listener is %v, want one with the kind of network", addr)
	}
	conn, err := e.host.Dial(e.Context(), e.dialConfig("x"))
	if err == nil {
		e.keep(conn)
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		e.Errorf("Dial: %v, want errors.ErrUnsupported", err)
	}
}

// releaseTime is how long the other end may take to notice that the last
// descriptor of a connection's end was closed.
const releaseTime = 5 * time.Second

// hostEnd is a net.Conn or an *os.File.
type hostEnd interface {
	io.Reader
	SetReadDeadline(t time.Time) error
}

// wantEnd checks that no descriptor of the other end of conn is open any more.
func (e *env) wantEnd(conn hostEnd, when string) {
	e.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(releaseTime)); err != nil {
		e.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		e.Errorf("%s, the other end is still open: Read gave %v", when, err)
	}
}

// checkRefusedFiles calls Listen with files that it must refuse. Listen owns
// the files then too, and closes them.
func checkRefusedFiles(e *env) {
	cfg := e.listenConfig()
	e.refuseListen(e.Context(), "no files", cfg)

	conn, files := e.mustPrepare()
	reader, writer := e.pipe()
	cfg.Files = append(files, writer)
	e.refuseListen(e.Context(), "a file too many", cfg, conn, reader)

	var readers []hostEnd
	cfg.Files = nil
	for range files {
		reader, writer := e.pipe()
		readers, cfg.Files = append(readers, reader), append(cfg.Files, writer)
	}
	e.refuseListen(e.Context(), "files of another kind", cfg, readers...)

	for _, cfg.Version = range []int{0, -1, slices.Max(e.plugin.Versions()) + 1} {
		conn, cfg.Files = e.mustPrepare()
		e.refuseListen(e.Context(), fmt.Sprintf("version %d", cfg.Version), cfg, conn)
	}

	cfg = e.listenConfig()
	conn, cfg.Files = e.mustPrepare()
	ended, cancel := context.WithCancel(e.Context())
	cancel()
	e.refuseListen(ended, "a context that has ended", cfg, conn)
}

// refuseListen calls Listen, which must fail and close its files, the other
// ends of ends. If ctx has ended, the error must be that of ctx.
func (e *env) refuseListen(ctx context.Context, what string, cfg transport.ListenConfig, ends ...hostEnd) {
	e.Helper()
	ln, err := e.plugin.Listen(ctx, cfg)
	if err == nil {
		e.keep(ln)
		e.Errorf("Listen with %s: no error", what)
		return
	}
	if want := ctx.Err(); want != nil && !errors.Is(err, want) {
		e.Errorf("Listen with %s: error %v, want %v", what, err, want)
	}
	for _, end := range ends {
		e.wantEnd(end, "after Listen refused "+what)
	}
}

// mustPrepare is prepare, with files that the end of the check closes if
// nothing else has.
func (e *env) mustPrepare() (net.Conn, []*os.File) {
	e.Helper()
	conn, files, err := e.prepare(e.Context())
	if err != nil {
		e.Fatal(err)
	}
	e.keepFiles(files...)
	return conn, files
}

func (e *env) pipe() (reader, writer *os.File) {
	e.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		e.Fatal(err)
	}
	e.keepFiles(reader, writer)
	return reader, writer
}

// keepFiles closes files that the transport may have closed by then.
func (e *env) keepFiles(files ...*os.File) {
	for _, file := range files {
		e.cleanups = append(e.cleanups, func() {
			if err := file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
				e.Errorf("Close of %s: %v", file.Name(), err)
			}
		})
	}
}

// checkOneConnection calls Accept twice. One call returns the connection, the
// other blocks until the listener is closed.
func checkOneConnection(e *env) {
	ln := e.listen()
	host := e.open(e.Context(), ln)
	type result struct {
		conn net.Conn
		err  error
	}
	results := make(chan result, 2)
	for range 2 {
		go func() {
			conn, err := ln.Accept()
			results <- result{conn, err}
		}()
	}
	first := <-results
	if first.err != nil {
		e.Fatalf("Accept gave %v, want the connection", first.err)
	}
	e.keep(first.conn)
	// Give the other call time to return, if it wrongly does.
	if err := errors.Join(transfer(host, first.conn, 1<<20, 1), transfer(first.conn, host, 1<<20, 2)); err != nil {
		e.Error(err)
	}
	var second result
	select {
	case second = <-results:
		e.Errorf("a second Accept gave %v, want it to wait until the listener is closed", second.err)
	default:
		if err := ln.Close(); err != nil {
			e.Errorf("Close of the listener: %v", err)
		}
		if second = <-results; !errors.Is(second.err, net.ErrClosed) {
			e.Errorf("a second Accept, after Close: %v, want net.ErrClosed", second.err)
		}
	}
	if second.err == nil {
		e.keep(second.conn)
	}
}

// checkClosedUnused closes a listener whose connection was not accepted.
func checkClosedUnused(e *env) {
	ln := e.listen()
	host := e.open(e.Context(), ln)
	if err := ln.Close(); err != nil {
		e.Errorf("Close of the listener: %v", err)
	}
	if conn, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		if err == nil {
			e.keep(conn)
		}
		e.Errorf("Accept after Close: %v, want net.ErrClosed", err)
	}
	e.wantEnd(host, "after the listener was closed and nothing accepted")
}
