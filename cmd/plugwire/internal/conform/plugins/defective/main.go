//go:build unix

// Command defective is a plugin on Plugwire that can be given one defect, for the tests of
// the rules: defective NAME. Without a name it has none.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// defect is one way in which the plugin is wrong. What is nil is right.
type defect struct {
	// variable changes what the plugin finds in its environment.
	variable func(name, value string) string
	// answer changes the line that the plugin prints, without its line feeds.
	answer func(line string) string
	// options are the plugin's.
	options []plugin.Option
	// begin runs before everything else.
	begin func(p *broken)
	// answering runs right before the answer is printed.
	answering func(p *broken)
	// listening runs when the socket has been made.
	listening func(path string)
	// conn changes a connection that came.
	conn func(p *broken, c *net.UnixConn) net.Conn
	// handler is the service's.
	print func(h printer)
	// exit changes the exit code.
	exit func(code int) int
}

// broken is a plugin with a defect.
type broken struct {
	defect
	out      *os.File // standard output, as the host gave it
	listener net.Listener
	tls      *tlsFault
	conns    int // that came until now; only the accepting goroutine uses it
}

func main() {
	p := &broken{}
	if len(os.Args) > 1 {
		if os.Args[1] == "-list" {
			for name := range defects {
				fmt.Println(name)
			}
			return
		}
		d, ok := defects[os.Args[1]]
		if !ok {
			fmt.Fprintf(os.Stderr, "there is no defect %q\n", os.Args[1])
			os.Exit(2)
		}
		p.defect = d
	}
	code := 0
	if err := p.run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if p.exit != nil {
		code = p.exit(code)
	}
	os.Exit(code)
}

func (p *broken) run() error {
	fd, err := syscall.Dup(int(os.Stdout.Fd()))
	if err != nil {
		return err
	}
	syscall.CloseOnExec(fd)
	p.out = os.NewFile(uintptr(fd), "answer")
	if p.begin != nil {
		p.begin(p)
	}
	opts := []plugin.Option{
		plugin.WithTransports(faultyUnix{unix.New(), p}, tcp.New()),
		plugin.WithLookupEnv(p.lookup),
	}
	if p.answer != nil || p.answering != nil {
		opts = append(opts, plugin.WithAnswerWriter(p))
	}
	return plugin.Run(context.Background(), protocol.Join(bind(3, p), bind(5, p)), append(opts, p.options...)...)
}

// lookup finds a variable of the environment.
func (p *broken) lookup(name string) (string, bool) {
	value, ok := os.LookupEnv(name)
	if p.variable != nil {
		value = p.variable(name, value)
		ok = value != ""
	}
	return value, ok
}

// Write writes the answer.
func (p *broken) Write(b []byte) (int, error) {
	if p.answering != nil {
		p.answering(p)
	}
	line := string(b)
	if p.answer != nil {
		line = p.answer(strings.TrimSpace(line))
	}
	if _, err := io.WriteString(p.out, line); err != nil {
		return 0, err
	}
	return len(b), nil
}

// pw reports whether the host offers the wire pw/1 alone.
func (p *broken) pw() bool { return strings.Contains(os.Getenv(offer), "wires=pw/1|") }

// printer is the handler of the one service.
type printer interface{ print() }

func (p *broken) print() {
	if p.defect.print != nil {
		p.defect.print(p)
		return
	}
	fmt.Println("printed")
	fmt.Fprintln(os.Stderr, "printed")
}

// bind returns a version of the protocol, whose method prints.
func bind(version int, p *broken) protocol.Binding {
	desc := &grpc.ServiceDesc{
		ServiceName: "conform.Defective", HandlerType: (*printer)(nil), Metadata: "conform.proto",
		Methods: []grpc.MethodDesc{{
			MethodName: "Print",
			Handler: func(srv any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
				if err := decode(&emptypb.Empty{}); err != nil {
					return nil, err
				}
				srv.(printer).print()
				return &emptypb.Empty{}, nil
			},
		}},
	}
	return protocol.Bind(protocol.New("conform", version, desc), p)
}

// faultyUnix is the transport unix, with the defect.
type faultyUnix struct {
	*unix.Transport
	p *broken
}

// Listen implements [transport.Transport].
func (t faultyUnix) Listen(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
	ln, err := t.Transport.Listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if t.p.listening != nil {
		t.p.listening(ln.Addr().String())
	}
	t.p.listener = ln
	return faultyListener{ln, t.p}, nil
}

type faultyListener struct {
	net.Listener
	p *broken
}

// Accept implements [net.Listener].
func (l faultyListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		l.p.conns++
		c, ok := conn.(*net.UnixConn)
		if !ok {
			return nil, errors.Join(fmt.Errorf("a %T", conn), conn.Close())
		}
		if l.p.tls != nil {
			return l.p.tls.serve(c), nil
		}
		if l.p.conn == nil {
			return c, nil
		}
		if changed := l.p.conn(l.p, c); changed != nil {
			return changed, nil
		}
		_ = c.Close() // the defect refuses it
	}
}
