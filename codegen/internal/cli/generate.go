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

Writes FILE.pb.go beside each FILE.proto. If the file has services, also writes
FILE_grpc.pb.go and FILE_plugwire.pb.go. A directory stands for all .proto files
below it. The default argument is the working directory.

If a file has a mistake, no code is written for it, nor for the files that import
it. The code of all other files is written, and the exit code is 1.

A file without option go_package gets the Go package of its directory, from the
module path in go.mod. Files import each other by their path relative to the root.
This path is also the name in protobuf's registry, and must be unique in a program.
Any file can import google/protobuf/*.proto and plugwire/options.proto.

`

func runGenerate(ctx context.Context, args []string, s streams) error {
	flags := newFlags("generate", generateUsage, s)
	o := generate.Options{Warnings: s.err, Progress: s.progress()}
	sourceFlags(flags, &o)
	packageFlag(flags, &o)
	protocolFlag(flags, &o)
	flags.StringVar(&o.Out, "out", "", "`directory` for the code: each Go package gets the subdirectory of its import path; by default code is written beside the .proto files")
	flags.StringVar(&o.Module, "module", "", "with -out, `prefix` to remove from import paths, such as the module path")
	flags.BoolVar(&o.Check, "check", false, "write nothing; list stale, missing and stray files")
	flags.BoolVar(&o.GRPCOnly, "grpc-only", false, "write no FILE_plugwire.pb.go, for services that no plugin serves")
	if err := parse(flags, args, s); err != nil {
		return err
	}
	if o.Module != "" && o.Out == "" {
		s.complain("plugwire-gen generate: -module needs -out\n")
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
			err = fmt.Errorf("%w\nthe generated code of %d of %s is current", err, changed.Current, count(changed.All, ".proto file"))
		}
		return err
	}
	if changed.Missing > 0 {
		s.say("the code of %s is generated, but does not compile without the code of its imports: see %s\n", count(changed.Current, ".proto file"), count(changed.Missing, "warning"))
		return nil
	}
	s.say("the generated code of %s is current\n", count(changed.Current, ".proto file"))
	if len(changed.Written) > 0 {
		s.say("next: %s\n", afterGenerate(o.Root))
	}
	return nil
}

// afterGenerate returns the next step for the user: to run the host of the module, if
// the module has exactly one.
func afterGenerate(root string) string {
	var hosts []string
	found, _ := filepath.Glob(filepath.Join(root, "cmd", "*-host")) // an invalid pattern finds no host
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
