package targets

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/magefile/mage/mg"
)

// stopGrace is how long an interrupted command may take to stop its own processes,
// such as the test binaries of go test, before it is killed. Mage waits 5 s for its
// targets.
const stopGrace = 3 * time.Second

// A place is where commands run: a module or a scratch directory.
type place struct {
	name string   // name in messages
	dir  string   // relative to the root of the repository, or absolute
	env  []string // added to this process's environment
}

// with returns the place with more environment; new values override old ones.
func (p place) with(env ...string) place {
	p.env = slices.Concat(p.env, env)
	return p
}

// command makes a command that ends with ctx, and that has time to end its own
// processes.
func (p place) command(ctx context.Context, args []string) *exec.Cmd {
	if mg.Verbose() {
		fmt.Fprintf(os.Stderr, "%s: %s\n", p.name, strings.Join(args, " "))
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = stopGrace
	return cmd
}

// run runs a command whose output the user sees.
func (p place) run(ctx context.Context, args ...string) error {
	cmd := p.command(ctx, args)
	cmd.Stdout = os.Stdout
	return p.explain(args, cmd.Run())
}

// quiet runs a command whose output the user sees only if it fails.
func (p place) quiet(ctx context.Context, args ...string) error {
	cmd := p.command(ctx, args)
	cmd.Stderr = nil
	out, err := cmd.CombinedOutput()
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s", out)
	}
	return p.explain(args, err)
}

// output runs a command and returns what it writes to stdout, trimmed.
func (p place) output(ctx context.Context, args ...string) (string, error) {
	out, err := p.command(ctx, args).Output()
	return strings.TrimSpace(string(out)), p.explain(args, err)
}

// explain says which command failed, and where.
func (p place) explain(args []string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %w", p.name, strings.Join(args, " "), err)
}

// each calls f for every item and joins the errors, so that one failure does
// not hide the next.
func each[T any](items []T, f func(T) error) error {
	var errs []error
	for _, item := range items {
		errs = append(errs, f(item))
	}
	return errors.Join(errs...)
}

// inCI reports whether this run decides whether a change may land.
func inCI() bool { return os.Getenv("CI") == "true" }

// skipped is called for a part that cannot run on this machine. In CI it
// returns an error, elsewhere it prints a line.
func skipped(what, why string) error {
	if inCI() {
		return fmt.Errorf("%s: %s", what, why)
	}
	fmt.Printf("skipped: %s: %s\n", what, why)
	return nil
}
