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

Makes the directory NAME with a module: a .proto file and its Go code, a handler, a
plugin, a host, tests, and a README. In another language than Go it makes a .proto
file, a plugin, its tests, and a README. If a step fails, nothing is left. The protocol
and its Go package have the name without dashes.

`

func runNew(ctx context.Context, args []string, s streams) error {
	flags := newFlags("new", newUsage, s)
	lang := flags.String("lang", string(scaffold.Go), "`language` of the plugin: go, python (on grpcio), or node (on @grpc/grpc-js)")
	module := flags.String("module", "", "module `path`; by default example.com/NAME; only for go")
	clone := flags.String("clone", "", "copy Plugwire's modules from a clone in this `directory`, instead of using a release; only for go")
	if err := parse(flags, args, s); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		s.complain("plugwire-gen new: want one NAME, got %d\n\n", flags.NArg())
		flags.Usage()
		return errUsage
	}
	m := scaffold.Module{Name: flags.Arg(0), Lang: scaffold.Language(*lang), Module: *module}
	if m.Lang != scaffold.Go {
		if *module != "" || *clone != "" {
			s.complain("plugwire-gen new: -module and -clone are for a plugin in Go, not with -lang %s\n\n", m.Lang)
			flags.Usage()
			return errUsage
		}
		return newForeign(m, s)
	}
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

// checkClone returns an error if a directory is not a clone of Plugwire.
func checkClone(dir string) error {
	for _, module := range scaffold.Modules {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(module), "go.mod")); err != nil {
			return fmt.Errorf("-clone %s: not a clone of Plugwire: %w", dir, err)
		}
	}
	return nil
}

// sayNext prints the next steps in the new module.
func sayNext(ctx context.Context, m scaffold.Module, s streams) error {
	workspace, err := otherWorkspace(ctx, m.Name)
	if err != nil {
		return err
	}
	s.say("next:\n    cd %s\n", m.Name)
	switch {
	case workspace != "" && m.Clone != "": // the workspace may have the modules that this module has copies of
		s.say("    export GOWORK=off    # %s does not use this module\n", workspace)
	case workspace != "":
		s.say("    go work use .    # %s does not use this module\n", workspace)
	}
	s.say(`    go test ./...
    go run ./cmd/%[1]s-host
then change %[2]s, and:
    plugwire-gen generate
`, m.Name, m.Proto())
	return nil
}

// otherWorkspace returns the go.work that the go command uses in a module. It is empty
// if there is none, or if the go.work is in the module itself.
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

// tidy adds the module's indirect requirements and all checksums.
func tidy(ctx context.Context, dir string) error {
	var out bytes.Buffer
	cmd := gocmd.Command(ctx, dir, "mod", "tidy")
	cmd.Env = append(cmd.Env, "GOWORK=off")
	cmd.Stdout, cmd.Stderr = &out, &out
	switch err := cmd.Run(); {
	case ctx.Err() != nil:
		return fmt.Errorf("interrupted; nothing was written: %w", ctx.Err())
	case err != nil:
		return fmt.Errorf("go mod tidy: %w\n%s%s was not made: solve this and try again, or use -clone, which needs no release of Plugwire", gocmd.Explain(err), out.Bytes(), dir)
	default:
		return nil
	}
}
