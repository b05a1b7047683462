package cli

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/plugwire/plugwire/codegen/internal/generate"
)

const generateUsage = `usage: plugwire-gen generate [flags] [DIR|FILE...]

Writes FILE.pb.go beside each FILE.proto and, if it has services, FILE_grpc.pb.go
and FILE_plugwire.pb.go. A directory stands for all .proto files below it; no
argument stands for the working directory.

The path of a file relative to the root is its name in protobuf's registry, which
must be unique in a program, and the name by which other files import it.
google/protobuf/*.proto and plugwire/options.proto can be imported from anywhere.

`

func runGenerate(ctx context.Context, args []string, s streams) error {
	flags := newFlags("generate", generateUsage, s)
	o := generate.Options{Warnings: s.err, Progress: s.progress()}
	sourceFlags(flags, &o)
	flags.BoolVar(&o.Check, "check", false, "write nothing; list the files that are stale, missing or too many")
	flags.BoolVar(&o.GRPCOnly, "grpc-only", false, "write no FILE_plugwire.pb.go, for services that are not a plugin's")
	if err := parse(flags, args, s); err != nil {
		return err
	}
	names, err := findFiles(o.Root, flags.Args())
	if err != nil {
		return err
	}
	changed, err := generate.Run(ctx, names, o)
	if err != nil {
		return err
	}
	for _, path := range changed.Written {
		s.say("wrote %s\n", path)
	}
	for _, path := range changed.Removed {
		s.say("removed %s\n", path)
	}
	s.say("the generated code of %s is current\n", count(changed.Count, ".proto file"))
	if len(changed.Written) > 0 {
		s.say("next: %s\n", afterGenerate(o.Root))
	}
	return nil
}

// afterGenerate names the command that shows what the generated code does.
func afterGenerate(root string) string {
	if hosts, err := filepath.Glob(filepath.Join(root, "cmd", "*-host")); err == nil && len(hosts) == 1 {
		host := filepath.ToSlash(hosts[0])
		if !strings.HasPrefix(host, "../") {
			host = "./" + host
		}
		return "go run " + host
	}
	return "implement the Handler interfaces, then go vet ./..."
}
