//go:build unix

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
)

// servePlugin is the plugin. The behaviour says what is different about it.
func servePlugin(behaviour []string) {
	switch {
	case len(behaviour) == 0:
	case behaviour[0] == "fails-once": // its argument is a file that it makes
		if _, err := os.Stat(behaviour[1]); err != nil {
			_ = os.WriteFile(behaviour[1], nil, 0o600)
			os.Exit(3)
		}
	case behaviour[0] == "mute":
		fmt.Fprintln(os.Stderr, "[INFO] the plugin runs")
		time.Sleep(time.Hour)
	}
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: handshake,
		Plugins:         plugin.PluginSet{"drill": drillPlugin{}},
		GRPCServer:      plugin.DefaultGRPCServer,
	})
	if len(behaviour) == 2 && behaviour[0] == "prints-after" {
		fmt.Print(strings.Repeat("after\n", 40000))
		_ = os.WriteFile(behaviour[1], nil, 0o600)
	}
}

// handler does what a host asks for.
type handler struct{ broker *plugin.GRPCBroker }

func (h handler) do(_ context.Context, command string) (string, error) {
	verb, arg, _ := strings.Cut(command, ":")
	n, _ := strconv.Atoi(arg)
	switch verb {
	case "echo":
		return arg, nil
	case "size":
		return strconv.Itoa(len(arg)), nil
	case "env":
		return os.Getenv(arg), nil
	case "pid":
		return strconv.Itoa(os.Getpid()), nil
	case "stop": // this process answers nothing any more
		return "", syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case "spawn": // a process that holds this one's output
		child := exec.Command("sleep", "60")
		child.Stdout, child.Stderr = os.NewFile(1, "stdout"), os.NewFile(2, "stderr")
		return "", child.Start()
	case "flood": // a long line on the descriptor itself
		_, err := syscall.Write(1, bytes.Repeat([]byte("x"), n))
		return "", err
	case "print":
		fmt.Print(strings.Repeat("tail\n", n))
		return "", nil
	case "errors": // a long line of a log
		_, _ = fmt.Fprintf(originalStderr, `{"@level":"error","@message":"it is broken","@timestamp":"2026-01-01T00:00:00.000000Z","detail":%q}`+"\n", strings.Repeat("x", n))
		return "", nil
	case "sleep":
		_, _ = fmt.Fprintln(originalStderr, "[INFO] asleep")
		time.Sleep(time.Duration(n) * time.Millisecond)
		return "slept", nil
	case "panic":
		panic("the drill panics")
	case "dial": // what the host serves under an id
		conn, err := h.broker.Dial(uint32(n))
		if err != nil {
			return "", err
		}
		answer, err := do(conn, "echo:from the host")
		return answer, errors.Join(err, conn.Close())
	case "serve": // under an id, until "unserve"
		serveHere(h.broker, uint32(n))
		return "", nil
	case "unserve":
		(<-serving).Stop()
		return "", nil
	case "accept": // without a host that has a broker
		ln, err := h.broker.Accept(uint32(n))
		if err == nil {
			err = ln.Close()
		}
		return "", err
	}
	return "", fmt.Errorf("unknown command %q", verb)
}

// serving has the server that "serve" has started.
var serving = make(chan *grpc.Server, 1)

// serveHere returns when the broker accepts.
func serveHere(broker *plugin.GRPCBroker, id uint32) {
	accepted := make(chan *grpc.Server)
	go broker.AcceptAndServe(id, func(opts []grpc.ServerOption) *grpc.Server {
		s := serveHost(opts)
		accepted <- s
		return s
	})
	serving <- <-accepted
}

// originalStderr is standard error before Serve has replaced it.
var originalStderr = os.Stderr

// hostHandler is what a host serves through the broker.
type hostHandler struct{}

func (hostHandler) do(_ context.Context, command string) (string, error) { //nolint:unparam // like handler.do
	_, arg, _ := strings.Cut(command, ":")
	return arg, nil
}

func serveHost(opts []grpc.ServerOption) *grpc.Server {
	s := grpc.NewServer(opts...)
	s.RegisterService(&desc, hostHandler{})
	return s
}
