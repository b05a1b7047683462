// Package hostile is the command hostile. It is a plugin that attacks its host, and the host of one:
//
//	hostile ATTACK                      a plugin, which a host starts
//	hostile host ATTACK                 a host that launches one, and logs to its standard output
//	hostile on PATH MODE ATTACK ENDED   a host on go-plugin, of a plugin that listens there: MODE is
//	                                    plain or multiplexed. It prints what came of the attack when
//	                                    so many calls have ended, and stays until its input ends
//
// It speaks the handshake and HTTP/2 by hand, to send bytes that no library
// sends.
package hostile

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"runtime"
	"time"

	"github.com/hashicorp/yamux"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/unix"
)

// Main is the command.
func Main() {
	args := os.Args[1:]
	var err error
	switch {
	case len(args) == 1:
		err = plugin(args[0])
	case len(args) == 2 && args[0] == "host":
		err = launch(args[1])
	case len(args) == 5 && args[0] == "on":
		err = attackPlugin(args[1], args[2], args[3], args[4])
	default:
		err = errors.New("usage: hostile ATTACK, hostile host ATTACK, or hostile on PATH MODE ATTACK ENDED")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// attackPlugin attacks a plugin.
func attackPlugin(path, mode, name, ended string) error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	if mode == "multiplexed" {
		session, err := yamux.Client(conn, nil)
		if err != nil {
			return err
		}
		if conn, err = session.Open(); err != nil {
			return err
		}
	}
	results, err := attack(ctx, conn, name, ended)
	if err != nil {
		return err
	}
	fmt.Printf("%s\n", results)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// limit bounds the life of host and plugin.
const limit = time.Minute

// launch launches a plugin that attacks, calls it, and waits for its end.
func launch(attack string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	p, err := host.Launch(ctx, exec.Command(self, attack),
		host.WithProtocols(echopb.EchoProtocol), host.WithTransports(unix.New()), host.WithServices(echopb.ServeEcho(echopb.UnimplementedEchoServer{})),
		host.WithLogger(slog.New(slog.NewJSONHandler(os.Stdout, nil))))
	if err != nil {
		fmt.Println("launch:", err) // the attack may end the plugin
		return nil
	}
	_, err = echopb.NewEchoClient(p).Unary(ctx, &echopb.Payload{})
	fmt.Println("call:", err)
	select {
	case <-p.Done():
	case <-ctx.Done():
	}
	fmt.Println("close:", p.Close())
	return nil
}

func plugin(attack string) error {
	offer, err := negotiation.ParseOffer(os.LookupEnv, negotiation.DefaultCookie(), runtime.GOOS)
	if err != nil {
		return err
	}
	ln, err := unix.New().Listen(context.Background(), transport.ListenConfig{Version: 1, Dir: offer.SocketDir})
	if err != nil {
		return err
	}
	answer := negotiation.Answer{
		Plugwire: true, Version: 1, Network: "unix", Address: ln.Addr().String(), Transport: transport.ID{Name: "unix", Version: 1},
		Session: handshake.SessionDirect, Wire: handshake.WireH2, Security: handshake.SecurityPeerCred,
		Protocol: offer.Protocol, Instance: offer.Instance,
	}
	fmt.Printf("\n%s\n", answer.String())
	time.AfterFunc(limit, func() { os.Exit(3) })
	callbacks := make(chan net.Conn, 1)
	for {
		conn, err := ln.Accept()
		if err != nil {
			return err
		}
		purpose, err := readPreamble(conn)
		if err != nil {
			return err
		}
		switch {
		case purpose == callbacksPurpose:
			callbacks <- conn
		case onCalls[attack] != nil:
			go func() { exit(onCalls[attack](conn)) }()
		default:
			go func() { exit(serve(conn, attack, callbacks)) }()
		}
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// These are parts of the preamble of a stream (docs/protocol.md).
const (
	preambleLen      = 16
	purposeAt        = 11
	callbacksPurpose = 2
)

func readPreamble(conn net.Conn) (purpose byte, err error) {
	var b [preambleLen]byte
	_, err = io.ReadFull(conn, b[:])
	return b[purposeAt], err
}

// onCalls are attacks of a server on its client, on the stream for calls.
var onCalls = map[string]func(conn net.Conn) error{
	"goaway": func(conn net.Conn) error {
		f, err := serveByHand(conn)
		for range 20_000 {
			if err = errors.Join(err, f.WriteGoAway(1<<31-1, http2.ErrCodeEnhanceYourCalm, []byte("too_many_pings"))); err != nil {
				return nil
			}
		}
		return err
	},
	"garbage": func(conn net.Conn) error {
		f, err := serveByHand(conn)
		if err == nil {
			err = f.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 1, []byte{0xff, 0xff, 0xff, 0xff, 0xff})
		}
		return err
	},
	"unknown": func(conn net.Conn) error {
		f, err := serveByHand(conn)
		for i := range 20_000 {
			// No library sends these frames: of unknown types, for streams that do not
			// exist.
			if err = errors.Join(err, f.WriteRawFrame(http2.FrameType(10+i%200), 0, uint32(i), []byte("x"))); err != nil {
				return nil
			}
		}
		return err
	},
	"text": func(conn net.Conn) error {
		_, err := io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
		return err
	},
}

// serveByHand begins the server's side of HTTP/2, and reads until the connection
// ends.
func serveByHand(conn net.Conn) (*http2.Framer, error) {
	r := bufio.NewReader(conn)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(r, preface); err != nil {
		return nil, err
	}
	f := http2.NewFramer(conn, r)
	if err := errors.Join(f.WriteSettings(), f.WriteSettingsAck()); err != nil {
		return nil, err
	}
	called := make(chan struct{})
	go func() {
		for {
			frame, err := f.ReadFrame()
			if err != nil {
				return
			}
			if frame.Header().Type == http2.FrameHeaders && called != nil {
				close(called)
				called = nil
			}
		}
	}()
	<-called // the host is ready
	return f, nil
}

// serve serves the echo service on one connection: a unary call makes the attack.
func serve(conn net.Conn, attack string, callbacks <-chan net.Conn) error {
	server := grpc.NewServer()
	echopb.RegisterEchoServer(server, &attacker{attack: attack, callbacks: callbacks})
	return server.Serve(&oneConn{conn: conn, ended: make(chan struct{})})
}

// oneConn is a listener for one connection.
type oneConn struct {
	conn  net.Conn
	ended chan struct{}
}

func (o *oneConn) Accept() (net.Conn, error) {
	if conn := o.conn; conn != nil {
		o.conn = nil
		return conn, nil
	}
	<-o.ended
	return nil, net.ErrClosed
}

func (o *oneConn) Close() error {
	close(o.ended)
	return nil
}

func (o *oneConn) Addr() net.Addr { return &net.UnixAddr{Net: "unix"} }
