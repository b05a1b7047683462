package cli

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/plugwire/plugwire/codegen/internal/generate"
	"github.com/plugwire/plugwire/codegen/internal/gocmd"
	"github.com/plugwire/plugwire/codegen/internal/history"
	"github.com/plugwire/plugwire/codegen/internal/scaffold"
)

const newUsage = `usage: plugwire-gen new [flags] NAME

Makes the directory NAME with a module in it: a .proto file and its Go code, a
handler, a plugin and a host, tests, and a README. If that fails nothing is left.
The protocol and its Go package have the name without dashes.

`

func runNew(ctx context.Context, args []string, s streams) error {
	flags := newFlags("new", newUsage, s)
	module := flags.String("module", "", "module `path`; by default example.com/NAME")
	clone := flags.String("clone", "", "copy Plugwire's modules from the clone in this `directory`, instead of using a release")
	if err := parse(flags, args, s); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		s.complain("plugwire-gen new: want one NAME, got %d\n\n", flags.NArg())
		flags.Usage()
		return errUsage
	}
	m := scaffold.Module{Name: flags.Arg(0), Module: *module}
	if m.Module == "" {
		m.Module = "example.com/" + m.Name
	}
	if *clone != "" {
		if err := checkClone(*clone); err != nil {
			return err
		}
		m.Clone, m.Commit = *clone, history.Commit(ctx, *clone)
	}
	complete := func() error {
		o := generate.Options{Root: m.Name, Warnings: s.err, Progress: s.progress()}
		if _, err := generate.Run(ctx, []string{m.Proto()}, o); err != nil {
			return err
		}
		return tidy(ctx, m.Name)
	}
	if err := scaffold.Write(m.Name, m, complete); err != nil {
		return err
	}
	s.say("made %s, module %s\n", m.Name, m.Module)
	return sayNext(ctx, m, s)
}

// checkClone says whether a directory is a clone of Plugwire.
func checkClone(dir string) error {
	for _, module := range scaffold.Modules {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(module), "go.mod")); err != nil {
			return fmt.Errorf("-clone %s: no clone of Plugwire is there: %w", dir, err)
		}
	}
	return nil
}

// sayNext prints what to do with the new module.
func sayNext(ctx context.Context, m scaffold.Module, s streams) error {
	workspace, err := otherWorkspace(ctx, m.Name)
	if err != nil {
		return err
	}
	s.say("next:\n    cd %s\n", m.Name)
	switch {
	case workspace != "" && m.Clone != "": // a workspace may have the modules that this one has copies of
		s.say("    export GOWORK=off    # %s is in force, and does not know this module\n", workspace)
	case workspace != "":
		s.say("    go work use .    # %s is in force, and does not know this module\n", workspace)
	}
	s.say(`    go test ./...
    go run ./cmd/%[1]s-host
then change %[2]s, and:
    plugwire-gen generate
`, m.Name, m.Proto())
	return nil
}

// otherWorkspace returns the go.work that is in force in a module, if there is
// one and it is not the module's own.
func otherWorkspace(ctx context.Context, dir string) (string, error) {
	out, err := gocmd.Command(ctx, dir, "env", "GOWORK").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOWORK: %w", gocmd.Explain(err))
	}
	workspace := strings.TrimSpace(string(out))
	if workspace == "" || workspace == "off" {
		return "", nil
	}
	if _, err := relative(dir, workspace); err == nil {
		return "", nil
	}
	return workspace, nil
}

// tidy adds the module's indirect requirements, and all sums.
func tidy(ctx context.Context, dir string) error {
	var out bytes.Buffer
	cmd := gocmd.Command(ctx, dir, "mod", "tidy")
	cmd.Env = append(cmd.Env, "GOWORK=off")
	cmd.Stdout, cmd.Stderr = &out, &out
	switch err := cmd.Run(); {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted, and nothing was written: %w", ctx.Err())
	case err != nil:
		return fmt.Errorf("go mod tidy: %w\n%s%s is not made: try again when this is solved, or use -clone, which needs no release of Plugwire", gocmd.Explain(err), out.Bytes(), dir)
	default:
		return nil
	}
}
