//go:build linux

package chaos

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/e2e/duplex"
	"github.com/plugwire/plugwire/core/internal/e2e/duplexpb"
	"github.com/plugwire/plugwire/core/internal/e2e/echo"
	"github.com/plugwire/plugwire/core/internal/e2e/echopb"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
)

// Plugin is the plugin's side: the echo service with more ways to fail.
type Plugin struct {
	echopb.UnsafeEchoServer
	echo.Handler

	ledger *os.File
	lines  *uint64     // shared with linesFile, which outlives the process
	called atomic.Bool // closed by the host when it has the answer
}

// NewPlugin opens the plugin's files and begins to print lines.
func NewPlugin() (*Plugin, error) {
	dir := os.Getenv(EnvDir)
	ledger, err := os.OpenFile(filepath.Join(dir, ledgerFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666)
	if err != nil {
		return nil, err
	}
	lines, err := os.OpenFile(filepath.Join(dir, linesFile), os.O_CREATE|os.O_RDWR, 0o666)
	if err != nil {
		return nil, err
	}
	if err := lines.Truncate(8); err != nil {
		return nil, err
	}
	shared, err := syscall.Mmap(int(lines.Fd()), 0, 8, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		return nil, err
	}
	p := &Plugin{ledger: ledger, lines: (*uint64)(unsafe.Pointer(&shared[0]))}
	go p.print()
	return p, nil
}

// Serve binds all services.
func (p *Plugin) Serve() protocol.Binding {
	return protocol.Join(
		protocol.Bind(Protocol, p),
		protocol.Bind(Protocol, struct {
			*duplex.Handler
			duplexpb.UnsafeDuplexServer
		}{Handler: &duplex.Handler{Other: plugin.Host, Open: plugin.OpenStream, Accept: plugin.AcceptStream}}),
	)
}

// linePause is how often a line is printed.
const linePause = time.Millisecond

// print prints numbered lines, alternating between both streams. Before the answer
// it does not print on standard output, where a go-plugin host reads only one line.
// A line counts when the write has returned.
func (p *Plugin) print() {
	pause := time.NewTicker(linePause)
	for n := uint64(1); ; n++ {
		fd := 2
		if p.called.Load() {
			fd = 1 + int(n%2)
		}
		if _, err := syscall.Write(fd, fmt.Appendf(nil, "%s%d.\n", linePrefix, n)); err != nil {
			return
		}
		atomic.StoreUint64(p.lines, n)
		<-pause.C
	}
}

// Fail adds the ways to die to those of echo.Handler.
func (p *Plugin) Fail(ctx context.Context, req *echopb.FailRequest) (*echopb.Payload, error) {
	p.called.Store(true)
	how, arg, _ := strings.Cut(req.GetHow(), ":")
	switch how {
	case "write": // acknowledged after the write has returned
		_, err := fmt.Fprintln(p.ledger, arg)
		return &echopb.Payload{}, err
	case "wait":
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	case "goexit":
		runtime.Goexit()
		return nil, nil
	case "exit quietly":
		os.Exit(0)
		return nil, nil
	case "fatal error": // no recover sees this panic
		m := make(map[int]int)
		for range 8 {
			go func() {
				for i := 0; ; i++ {
					m[i%8] = i // the runtime detects this
				}
			}()
		}
		select {}
	case "stack overflow":
		debug.SetMaxStack(maxStack)
		go overflow(0)
		select {}
	case "descriptors closed":
		for fd := 3; fd < maxDescriptor; fd++ {
			_ = syscall.Close(fd) // most are not open
		}
		return &echopb.Payload{}, nil
	case "descriptors used up":
		return &echopb.Payload{}, useUpDescriptors()
	case "disk full":
		return nil, fillDisk()
	case "output closed":
		_ = syscall.Close(1)
		_ = syscall.Close(2)
		return &echopb.Payload{}, nil
	case "child":
		return &echopb.Payload{}, startChild()
	default:
		return p.Handler.Fail(ctx, req)
	}
}

// maxStack is small, because filling the runtime's limit of 1 GB takes many
// seconds.
const maxStack = 1 << 20

func overflow(n int) int { return overflow(n+1) + 1 } //nolint:staticcheck // that is how it goes wrong

// maxDescriptor is above every descriptor that the plugin has.
const maxDescriptor = 4096

// useUpDescriptors opens files until the system returns an error, and keeps
// them.
func useUpDescriptors() error {
	limit := syscall.Rlimit{Cur: 256, Max: 256}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	for {
		if _, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0); err != nil {
			return nil //nolint:nilerr // that is the aim
		}
	}
}

// fillDisk ends the process like a program that cannot write.
func fillDisk() error {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := full.Write([]byte("x")); err != nil {
		go panic(err)
		select {}
	}
	return status.Error(codes.Internal, "the disk is not full")
}

// startChild starts a process that would outlive every test.
func startChild() error {
	cmd := exec.Command("sleep", "600")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // the test kills it
	return nil
}

// PrintedLines returns how many lines the plugin of a directory has printed.
func PrintedLines(dir string) (uint64, error) {
	data, err := os.ReadFile(filepath.Join(dir, linesFile))
	if err != nil {
		return 0, err
	}
	if len(data) != 8 {
		return 0, fmt.Errorf("%s has %d bytes", linesFile, len(data))
	}
	return binary.NativeEndian.Uint64(data), nil
}
