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

// tools are the protoc plugins that are commands of other modules, which can be
// run but not imported. This module's go.mod says which releases.
var tools = []string{"protoc-gen-go", "protoc-gen-go-grpc"}

// patience is how long a step may take before the command says what it waits for.
// A tool that is compiled already starts in a fraction of this time.
const patience = 2 * time.Second

// programs are the tools as the go command compiled them.
type programs struct {
	cancel context.CancelFunc
	dir    string
	done   sync.WaitGroup
	// Set when done:
	paths []string
	errs  []error
}

// findTools starts to find the tools, and compiles a tool that is not compiled yet.
// The caller parses .proto files meanwhile, which takes about as long, and then
// calls close.
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

// wait returns the paths of the tools.
func (p *programs) wait() ([]string, error) {
	p.done.Wait()
	for i, err := range p.errs {
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tools[i], err)
		}
	}
	return p.paths, nil
}

// close ends what is still compiled, and removes temporary files.
func (p *programs) close() error {
	p.cancel()
	p.done.Wait()
	return os.RemoveAll(p.dir)
}

// findTool returns the path of a tool in the go command's cache.
func findTool(ctx context.Context, dir, tool string) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd := gocmd.Command(ctx, dir, "tool", "-n", tool)
	// A workspace would choose other releases, and the tool runs here even if
	// its user compiles for another platform, from a vendor directory, with
	// another go.mod or without modules.
	cmd.Env = append(cmd.Env, "GOWORK=off", "GO111MODULE=on", "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH,
		"GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=readonly -modfile=")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%w\n%s", gocmd.Explain(err), stderr.Bytes())
	}
	return strings.TrimSpace(stdout.String()), nil
}

// announce writes a line to w, which may be nil, if stop is not called within
// patience. Nothing is written after stop has returned.
func announce(w io.Writer, line string) (stop func()) {
	if w == nil {
		return func() {}
	}
	written := make(chan struct{})
	timer := time.AfterFunc(patience, func() {
		defer close(written)
		_, _ = fmt.Fprintln(w, line) // nowhere to report a failure
	})
	return func() {
		if !timer.Stop() {
			<-written
		}
	}
}

// toolsDir makes a directory in which the go command finds the tools' releases,
// and is independent of the module that plugwire-gen is run in.
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
