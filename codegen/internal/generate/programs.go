package generate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/plugwire/plugwire/codegen"
	"github.com/plugwire/plugwire/codegen/internal/gocmd"
)

// tools are the protoc plugins of other modules. This module's go.mod pins their
// releases.
var tools = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

// patience is how long a step may take before the command announces it. A compiled tool
// is found in a fraction of this time.
const patience = 2 * time.Second

// programs are the compiled tools.
type programs struct {
	cancel context.CancelFunc
	dir    string
	done   sync.WaitGroup
	paths  []string // by index of tools; valid after done
	errs   []error  // by index of tools; valid after done
}

// findTools starts to find the tools in the background. It compiles a tool that the go
// command's cache does not have. Meanwhile the caller parses .proto files, which takes
// about as long. The caller must call close at the end.
func findTools(ctx context.Context, o Options) *programs {
	ctx, cancel := context.WithCancel(ctx)
	p := &programs{cancel: cancel, paths: make([]string, len(tools)), errs: make([]error, len(tools))}
	dir, err := toolsDir()
	if err != nil {
		p.errs[0] = err
		return p
	}
	p.dir = dir
	for i, tool := range tools {
		p.done.Go(func() {
			stop := announce(o.Progress, "compiling "+tool+" (first run only)")
			defer stop()
			p.paths[i], p.errs[i] = findTool(ctx, p.dir, tool)
		})
	}
	return p
}

// wait waits until the tools are found, and returns their paths.
func (p *programs) wait() ([]string, error) {
	p.done.Wait()
	for i, err := range p.errs {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tools[i], err)
		}
	}
	return p.paths, nil
}

// close ends the search for tools and removes temporary files.
func (p *programs) close() error {
	p.cancel()
	p.done.Wait()
	return os.RemoveAll(p.dir)
}

// findTool returns the path of a tool in the go command's cache.
func findTool(ctx context.Context, dir, tool string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := gocmd.Command(ctx, dir, "tool", "-n", tool)
	// The user's settings are for the user's module. A workspace would choose other
	// releases. The tool must be for this platform, whatever the user compiles for, and
	// must not come from a vendor directory or another go.mod.
	cmd.Env = append(cmd.Env, "GOWORK=off", "GO111MODULE=on", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH,
		"GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=readonly -modfile=")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w\n%s", gocmd.Explain(err), stderr.Bytes())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// announce writes a line to w unless the caller calls stop within patience. It writes
// nothing after stop has returned. w may be nil.
func announce(w io.Writer, line string) (stop func()) {
	if w == nil {
		return func() {}
	}
	written := make(chan struct{})
	timer := time.AfterFunc(patience, func() {
		defer close(written)
		_, _ = fmt.Fprintln(w, line) // a failed write cannot be reported
	})
	return func() {
		if !timer.Stop() {
			<-written
		}
	}
}

// toolsDir makes a directory with this module's go.mod. The go command finds the pinned
// releases there, whatever the user's module requires.
func toolsDir() (string, error) {
	dir, err := os.MkdirTemp("", "plugwire-gen-")
	if err != nil {
		return "", err
	}
	if err := os.CopyFS(dir, codegen.Module); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}
