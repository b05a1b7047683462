// Command generate compiles .proto files and writes their Go code beside them,
// with nothing but Go installed: there is no protoc. It serves this repository's
// own files until the codegen module exists, so it is not published.
//
//	cd internal/generate && GOWORK=off go run . [-check] [-root DIR] FILE.proto...
//
// See -h for the flags.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

const usage = `usage: go run . [-check] [-root DIR] FILE.proto...

Writes FILE.pb.go, and FILE_grpc.pb.go if there are services, beside each
FILE.proto. Run it in internal/generate, with GOWORK=off.

FILE is a slash-separated path relative to the root directory. It is also the
file's name in protobuf's registry, which must be unique in a program, and the
name by which other files import it. The well-known google/protobuf/*.proto
files can be imported too.

Exit codes: 0 done, 1 an error or (with -check) a file that is not current,
2 wrong usage.

`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole command. It returns the exit code.
func run(ctx context.Context, args []string, stderr io.Writer) int {
	flags := flag.NewFlagSet("generate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		say(stderr, "%s", usage)
		flags.PrintDefaults()
	}
	check := flags.Bool("check", false, "write nothing; list the files that are stale or missing")
	root := flags.String("root", filepath.Join("..", ".."), "root `directory` of the .proto files")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case flags.NArg() == 0:
		flags.Usage()
		return 2
	}
	if err := generate(ctx, *root, flags.Args(), *check, stderr); err != nil {
		say(stderr, "%v\n", err)
		return 1
	}
	return 0
}

// generate brings the Go code of the .proto files up to date or, if check is
// set, returns an error that lists what is not. Either every file is generated
// or none is written. Warnings of the compiler go to stderr.
func generate(ctx context.Context, root string, names []string, check bool, stderr io.Writer) error {
	for _, name := range names {
		if !fs.ValidPath(name) || !strings.HasSuffix(name, ".proto") {
			return fmt.Errorf("%s: want the slash-separated path of a .proto file, relative to %s", name, root)
		}
	}
	request, err := compile(ctx, root, names, stderr)
	if err != nil {
		return err
	}
	var generated []generatedFile
	for _, tool := range tools {
		files, err := runTool(ctx, tool, request)
		if err != nil {
			return err
		}
		generated = append(generated, files...)
	}
	if check {
		return compare(root, generated)
	}
	return write(root, generated)
}

// compare returns an error that lists the files which differ from what is on
// disk.
func compare(root string, files []generatedFile) error {
	var problems []string
	for _, f := range files {
		switch have, err := os.ReadFile(f.path(root)); {
		case errors.Is(err, fs.ErrNotExist):
			problems = append(problems, f.name+": missing")
		case err != nil:
			return err
		case !bytes.Equal(have, f.content):
			problems = append(problems, f.name+": stale")
		}
	}
	if len(problems) == 0 {
		return nil
	}
	slices.Sort(problems)
	return fmt.Errorf("generated code is not current:\n%s", strings.Join(problems, "\n"))
}

func write(root string, files []generatedFile) error {
	for _, f := range files {
		// A file that is current keeps its modification time.
		if have, err := os.ReadFile(f.path(root)); err == nil && bytes.Equal(have, f.content) {
			continue
		}
		//nolint:gosec // source files are for everyone to read
		if err := os.WriteFile(f.path(root), f.content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// say prints to stderr. There is nowhere to report that this went wrong.
func say(stderr io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(stderr, format, args...)
}
