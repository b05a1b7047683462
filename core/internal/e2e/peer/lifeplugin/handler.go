//go:build linux

package lifeplugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
)

// handler implements echopb.EchoHandler.
type handler struct{ echo.Handler }

// Chat returns each payload as it comes, and never returns itself after one
// that says "stay".
func (handler) Chat(stream grpc.BidiStreamingServer[echopb.Payload, echopb.Payload]) error {
	for {
		payload, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(payload); err != nil {
			return err
		}
		if string(payload.GetData()) == "stay" {
			select {}
		}
	}
}

// Fail adds ways to those of echo.Handler.
func (h handler) Fail(ctx context.Context, req *echopb.FailRequest) (*echopb.Payload, error) {
	if script, ok := strings.CutPrefix(req.GetHow(), "run:"); ok {
		return run(ctx, script)
	}
	switch req.GetHow() {
	case "spin":
		for range runtime.GOMAXPROCS(0) {
			go spin()
		}
		return &echopb.Payload{}, nil
	case "spawn":
		return spawn(&syscall.SysProcAttr{})
	case "spawn detached": // outside of the group, with this process's output
		return spawn(&syscall.SysProcAttr{Setsid: true})
	case "chatter":
		for range 8 { // one of these writes is the first without a reader
			go chatter()
		}
		return &echopb.Payload{}, nil
	case "read":
		go func() { _, _ = io.Copy(io.Discard, os.Stdin) }()
		return &echopb.Payload{}, nil
	case "disconnect":
		return nil, disconnect()
	case "leave the group":
		return &echopb.Payload{}, syscall.Setpgid(0, 0)
	default:
		return h.Handler.Fail(ctx, req)
	}
}

// run runs a shell script with this process's standard input, and returns its
// output. The error does not matter.
func run(ctx context.Context, script string) (*echopb.Payload, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", script)
	cmd.Stdin = os.Stdin
	out, err := cmd.CombinedOutput()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		err = nil
	}
	return &echopb.Payload{Data: out}, err
}

func spin() {
	for { //nolint:staticcheck // to keep a processor busy is what is wanted
	}
}

// chatter writes to standard error while it has a reader, and then ignores
// errors.
func chatter() {
	for {
		_, _ = fmt.Fprintln(os.Stderr, "nothing much to say")
	}
}

// spawn starts a process that outlives every test and returns its number.
func spawn(attr *syscall.SysProcAttr) (*echopb.Payload, error) {
	cmd := exec.Command("sleep", "600")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = attr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() { _ = cmd.Wait() }() // the test kills it
	return &echopb.Payload{Data: []byte(strconv.Itoa(cmd.Process.Pid))}, nil
}

// disconnect shuts down every connected socket of this process.
func disconnect() error {
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return err
	}
	for _, entry := range fds {
		fd, err := strconv.Atoi(entry.Name())
		if err != nil {
			return err
		}
		if _, err := syscall.Getpeername(fd); err == nil {
			if err := syscall.Shutdown(fd, syscall.SHUT_RDWR); err != nil {
				return err
			}
		}
	}
	return nil
}
