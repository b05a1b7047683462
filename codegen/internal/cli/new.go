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
	"github.com/plugwire/plugwire/codegen/internal/scaffold"
)

const newUsage = `usage: plugwire-gen new [flags] NAME

Makes the directory NAME with a module in it: a .proto file and its Go code, a
handler, a plugin and a host, tests, and a README.

`

func runNew(ctx context.Context, args []string, s streams) error {
	flags := newFlags("new", newUsage, s)
	module := flags.String("module", "", "module `path`; by default example.com/NAME")
	clone := flags.String("clone", "", "take Plugwire's modules from the clone in this `directory` instead of a release")
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
		var err error
		if m.Clone, err = cloneDir(*clone); err != nil {
			return err
		}
	}
	complete := func() error {
		proto := m.Name + "/" + m.Name + ".proto"
		_, err := generate.Run(ctx, []string{proto}, generate.Options{Root: m.Name, Warnings: s.err, Progress: s.progress()})
		return err
	}
	if err := scaffold.Write(m.Name, m, complete); err != nil {
		return err
	}
	s.say("made %s, module %s\n", m.Name, m.Module)
	if m.Clone == "" {
		if err := tidy(ctx, m.Name); err != nil {
			return err
		}
	}
	return sayNext(ctx, m.Name, s)
}

// cloneDir returns the absolute, slash-separated path of a clone of Plugwire.
func cloneDir(dir string) (string, error) {
	path, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(path, "core", "go.mod")); err != nil {
		return "", fmt.Errorf("-clone %s: no clone of Plugwire is there: %w", dir, err)
	}
	return filepath.ToSlash(path), nil
}

// sayNext prints what to do with the new module.
func sayNext(ctx context.Context, name string, s streams) error {
	workspace, err := otherWorkspace(ctx, name)
	if err != nil {
		return err
	}
	s.say("next:\n    cd %s\n", name)
	if workspace != "" {
		s.say("    go work use .    # %s is in force, and does not know this module\n", workspace)
	}
	s.say(`    go test ./...
    go run ./cmd/%[1]s-host
then change %[1]s/%[1]s.proto, and:
    plugwire-gen generate
`, name)
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
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("go mod tidy: %w\n%s%s is complete but for go.sum: run go mod tidy in it when this is solved, or remove it and make it with -clone", err, out.Bytes(), dir)
	}
	return nil
}
