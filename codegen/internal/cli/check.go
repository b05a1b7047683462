package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plugwire/plugwire/codegen/internal/breaking"
	"github.com/plugwire/plugwire/codegen/internal/compile"
	"github.com/plugwire/plugwire/codegen/internal/generate"
	"github.com/plugwire/plugwire/codegen/internal/history"
)

const checkUsage = `usage: plugwire-gen check [flags] [DIR|FILE...]

Compares .proto files with what git has of them, and reports changes that break
hosts and plugins which run already: a service or a method that was removed, a
method of another kind or with other messages, a field or an enum's value with
another number, a field of another type, one that was removed but not reserved,
a number that was reserved, a field that joins or leaves a oneof.

The names of fields and of enums' values may change, as they are not on the wire.
A service whose protocol has a higher version may change in any way.

`

func runCheck(ctx context.Context, args []string, s streams) error {
	flags := newFlags("check", checkUsage, s)
	o := generate.Options{Warnings: io.Discard} // generate reports them
	sourceFlags(flags, &o)
	against := flags.String("against", "HEAD", "`revision` to compare with")
	if err := parse(flags, args, s); err != nil {
		return err
	}
	revision, err := history.At(ctx, o.Root, *against)
	if err != nil {
		return err
	}
	oldNames, names, err := filesToCompare(revision, o.Root, flags.Args())
	if err != nil {
		return err
	}
	old, err := compileAll(ctx, asItWas(revision, o), oldNames)
	if err != nil {
		return err
	}
	changed, err := compileAll(ctx, o.Source(), names)
	if err != nil {
		return err
	}
	findings := breaking.Compare(old, changed)
	for _, f := range findings {
		s.say("%s:%d:%d: %s\n", o.Source().Path(f.File), f.Line, f.Column, f.Text)
	}
	if len(findings) > 0 {
		return errors.New(count(len(findings), "change") + " since " + *against + " (" + revision.String() + ") would break what runs already; " +
			"take back what you can, or make a new version of the protocol: a package that ends in the next .vN, or a service with that version in its option, beside the old one")
	}
	s.say("nothing in %s breaks what runs since %s (%s)\n", count(len(oldNames), ".proto file"), *against, revision)
	return nil
}

// compileAll compiles files of which none may have a mistake: what is left out
// would look as if it was removed.
func compileAll(ctx context.Context, source compile.Source, names []string) ([]protoreflect.FileDescriptor, error) {
	result, err := compile.Files(ctx, source, names)
	if err != nil {
		return nil, err
	}
	return result.All(), result.Mistakes.Error(source)
}

// asItWas is the source of files at a revision. What git did not have, such as
// an import from outside of the root, is as it is now.
func asItWas(revision *history.Revision, o generate.Options) compile.Source {
	now := o.Source()
	return compile.Source{
		Open: func(name string) (io.ReadCloser, error) {
			if file, err := revision.Open(name); !errors.Is(err, fs.ErrNotExist) {
				return file, err
			}
			return now.Open(name)
		},
		Path: func(name string) string { return revision.String() + ":" + now.Path(name) },
	}
}

// filesToCompare returns the .proto files that the arguments name, as they were
// and as they are. A file or a directory may exist at one time only.
func filesToCompare(revision *history.Revision, root string, args []string) (old, now []string, err error) {
	if len(args) == 0 {
		args = []string{"."}
	}
	for _, arg := range args {
		wanted, err := relative(root, arg)
		if err != nil {
			return nil, nil, err
		}
		before := filesAt(revision, wanted)
		found, err := walk(arg)
		if err != nil && (!errors.Is(err, fs.ErrNotExist) || len(before) == 0) {
			return nil, nil, err
		}
		if len(before)+len(found.files) == 0 {
			return nil, nil, fmt.Errorf("%s: no .proto file there, now or at %s", arg, revision)
		}
		old = append(old, before...)
		for _, path := range found.files {
			name, err := relative(root, path)
			if err != nil {
				return nil, nil, err
			}
			now = append(now, name)
		}
	}
	slices.Sort(old)
	slices.Sort(now)
	return slices.Compact(old), slices.Compact(now), nil
}

// filesAt returns the .proto files that walk would find at a revision.
func filesAt(revision *history.Revision, wanted string) []string {
	var found []string
	for _, name := range revision.Files() {
		if path.Ext(name) == ".proto" && (name == wanted || within(revision, name, wanted)) {
			found = append(found, name)
		}
	}
	return found
}

// within reports whether walk would find the file in the directory.
func within(revision *history.Revision, name, wanted string) bool {
	rest := name
	if wanted != "." {
		var ok bool
		if rest, ok = strings.CutPrefix(name, wanted+"/"); !ok {
			return false
		}
	}
	dir := wanted
	dirs := strings.Split(rest, "/")
	for _, d := range dirs[:len(dirs)-1] {
		dir = path.Join(dir, d)
		if skip(d) || revision.Has(path.Join(dir, "go.mod")) {
			return false
		}
	}
	return true
}
