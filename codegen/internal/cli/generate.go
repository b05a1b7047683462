package cli

import (
	"context"
	"fmt"
	"go/build"
	"path/filepath"
	"strings"

	"github.com/plugwire/plugwire/codegen/internal/generate"
)

const generateUsage = `usage: plugwire-gen generate [flags] [DIR|FILE...]

Writes FILE.pb.go beside each FILE.proto and, if it has services, FILE_grpc.pb.go
and FILE_plugwire.pb.go. A directory stands for all .proto files below it; no
argument stands for the working directory.

A file that has a mistake is left out, with the files that import it; all others
are generated. The exit code is 1 then.

A file without option go_package belongs to the Go package of its directory, as
the module's go.mod says. The path of a file relative to the root is its name in protobuf's registry, which
must be unique in a program, and the name by which other files import it.
google/protobuf/*.proto and plugwire/options.proto can be imported from anywhere.

`

func runGenerate(ctx context.Context, args []string, s streams) error {
	flags := newFlags("generate", generateUsage, s)
	o := generate.Options{Warnings: s.err, Progress: s.progress()}
	sourceFlags(flags, &o)
	packageFlag(flags, &o)
	protocolFlag(flags, &o)
	flags.StringVar(&o.Out, "out", "", "`directory` below which each Go package gets a directory, that of its import path; by default code lies beside the .proto files")
	flags.StringVar(&o.Module, "module", "", "`prefix` that import paths lose with -out, such as the module's path")
	flags.BoolVar(&o.Check, "check", false, "write nothing; list the files that are stale, missing or too many")
	flags.BoolVar(&o.GRPCOnly, "grpc-only", false, "write no FILE_plugwire.pb.go, for services that are not a plugin's")
	if err := parse(flags, args, s); err != nil {
		return err
	}
	if o.Module != "" && o.Out == "" {
		s.complain("plugwire-gen generate: -module says what -out leaves out of directories: give -out too\n")
		return errUsage
	}
	names, err := findFiles(&o, flags.Args(), s)
	if err != nil {
		return err
	}
	changed, err := generate.Run(ctx, names, o)
	for _, path := range changed.Written {
		s.say("wrote %s\n", path)
	}
	for _, path := range changed.Removed {
		s.say("removed %s\n", path)
	}
	if err != nil {
		if changed.Current > 0 && !o.Check {
			err = fmt.Errorf("%w\nof %s, the code of %d is current", err, count(changed.All, ".proto file"), changed.Current)
		}
		return err
	}
	if changed.Missing > 0 {
		s.say("the code of %s is generated, and compiles when the code of imports is where Go looks for it: see %s\n", count(changed.Current, ".proto file"), count(changed.Missing, "warning"))
		return nil
	}
	s.say("the generated code of %s is current\n", count(changed.Current, ".proto file"))
	if len(changed.Written) > 0 {
		s.say("next: %s\n", afterGenerate(o.Root))
	}
	return nil
}

// afterGenerate names the command that shows what the generated code does.
func afterGenerate(root string) string {
	var hosts []string
	found, _ := filepath.Glob(filepath.Join(root, "cmd", "*-host")) // a bad pattern finds none
	for _, dir := range found {
		if isCommand(dir) {
			hosts = append(hosts, dir)
		}
	}
	if len(hosts) != 1 || !hasModule(root) {
		return "implement the Handler interfaces, then go vet ./..."
	}
	host := filepath.ToSlash(hosts[0])
	if !filepath.IsAbs(hosts[0]) && !strings.HasPrefix(host, "../") {
		host = "./" + host
	}
	return "go run " + host
}

// isCommand reports whether go run accepts a directory.
func isCommand(dir string) bool {
	p, err := build.ImportDir(dir, 0)
	return err == nil && p.Name == "main" && !hasModule(dir)
}
