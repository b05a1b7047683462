package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plugwire/plugwire/codegen/internal/accept"
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
A service whose protocol has a higher version may change in any way. Changes in
packages that are unstable, such as acme.v1beta1, are printed and do not fail, if
no service of another package uses what changed.

A change that people have agreed on is accepted by a line of a file, as it is
printed, below a comment that says why:

  # Nobody ever called it.
  words/words.proto: method words.Words.Drop: removed

`

// acceptedFile is the file that is read from the root if there is one.
const acceptedFile = "plugwire-accepted.txt"

// A checker holds the flags of check.
type checker struct {
	generate.Options
	against, accepted, format string
	unstable                  []string
	strict                    bool
}

func runCheck(ctx context.Context, args []string, s streams) error {
	flags := newFlags("check", checkUsage, s)
	c := checker{Options: generate.Options{Warnings: io.Discard}, format: formats[0]} // generate reports warnings
	sourceFlags(flags, &c.Options)
	flags.StringVar(&c.against, "against", "HEAD", "`revision` to compare with")
	flags.StringVar(&c.accepted, "accept", "", "`file` of changes that are accepted; by default "+acceptedFile+" in the root, if there is one")
	flags.Func("format", "`text`, json (an object in each line) or github (annotations); text by default", func(name string) error {
		c.format = name
		return checkFormat(name)
	})
	flags.Func("unstable", "`package` that is unstable, with those in it; can be repeated", func(name string) error {
		c.unstable = append(c.unstable, name)
		return nil
	})
	flags.BoolVar(&c.strict, "strict", false, "fail for changes in unstable packages too")
	if err := parse(flags, args, s); err != nil {
		return err
	}
	accepted, err := c.readAccepted()
	if err != nil {
		return err
	}
	revision, err := history.At(ctx, c.Root, c.against)
	if err != nil {
		return err
	}
	oldNames, names, err := filesToCompare(revision, c.Root, flags.Args(), s)
	if err != nil {
		return err
	}
	named := func(file string) bool { return slices.Contains(oldNames, file) || slices.Contains(names, file) }
	old, err := compileAll(ctx, asItWas(revision, c.Options), withMoved(revision, c.Root, oldNames, names))
	if err != nil {
		return err
	}
	changed, err := compileAll(ctx, c.Source(), names)
	if err != nil {
		return err
	}
	isElsewhere := func(file string) bool {
		_, err := os.Stat(filepath.Join(c.Root, filepath.FromSlash(file)))
		return !named(file) && (err == nil || revision.Has(file))
	}
	items := c.judge(c.compare(old.Sets, changed.Sets, oldNames, names), accepted, isElsewhere)
	counts := make(map[string]int)
	for _, i := range items {
		counts[i.State]++
		if err := s.report(c.format, c.shown(i, revision)); err != nil {
			return err
		}
	}
	if broken := counts[stateBreaking]; broken > 0 {
		return errors.New(count(broken, "change") + " since " + c.against + " (" + revision.String() + ") would break what runs already; " +
			"take back what you can, or make a new version of the protocol: a package that ends in the next .vN, or a service with that version in its option, beside the old one")
	}
	if c.format == formats[0] {
		s.say("nothing in %s breaks what runs since %s (%s)%s\n", count(len(oldNames), ".proto file"), c.against, revision, excepted(counts))
	}
	return nil
}

// excepted says what did not fail the check.
func excepted(counts map[string]int) string {
	var parts []string
	if n := counts[stateAccepted]; n > 0 {
		parts = append(parts, count(n, "accepted change"))
	}
	if n := counts[stateUnstable]; n > 0 {
		parts = append(parts, count(n, "change")+" in unstable packages")
	}
	if len(parts) == 0 {
		return ""
	}
	return ", but for " + strings.Join(parts, " and ")
}

// readAccepted reads the accepted changes, if there is a file of them.
func (c *checker) readAccepted() (*accept.Set, error) {
	isDefault := c.accepted == ""
	if isDefault {
		c.accepted = filepath.Join(c.Root, acceptedFile)
	}
	file, err := os.Open(c.accepted)
	if isDefault && errors.Is(err, fs.ErrNotExist) {
		return &accept.Set{}, nil
	}
	if err != nil {
		return nil, err
	}
	set, err := accept.Read(file, c.accepted)
	return set, errors.Join(err, file.Close())
}

func (c *checker) isUnstable(name protoreflect.FullName) bool {
	return !c.strict && breaking.Unstable(name, c.unstable)
}

// compare returns what the named files changed. The old sets may also have files that
// no longer exist, so of these only what is in a named file now counts.
func (c *checker) compare(old, now [][]protoreflect.FileDescriptor, oldNames, names []string) []breaking.Finding {
	isOld := func(f protoreflect.FileDescriptor) bool { return slices.Contains(oldNames, f.Path()) }
	var known [][]protoreflect.FileDescriptor
	isSame := true
	for _, set := range old {
		kept := slices.DeleteFunc(slices.Clone(set), func(f protoreflect.FileDescriptor) bool { return !isOld(f) })
		isSame = isSame && len(kept) == len(set)
		known = append(known, kept)
	}
	findings := compareAll(known, now, c.isUnstable)
	if isSame {
		return findings
	}
	for _, f := range compareAll(old, now, c.isUnstable) {
		if slices.Contains(names, f.File) {
			findings = append(findings, f)
		}
	}
	slices.SortFunc(findings, breaking.ByPlace)
	return slices.Compact(findings)
}

// judge returns an item for each finding, and for each acceptance of none, but not if
// that is about a file that was not compared.
func (c *checker) judge(findings []breaking.Finding, accepted *accept.Set, isElsewhere func(file string) bool) []item {
	var items []item
	for _, f := range findings {
		i := item{File: f.File, Line: f.Line, Column: f.Column, Text: f.Text, State: stateBreaking}
		if f.Unstable != "" {
			i.State, i.Reason = stateUnstable, "package "+f.Unstable
		}
		if e := accepted.Find(f.File, f.Text); e != nil {
			i.State, i.Reason = stateAccepted, e.Reason
		}
		items = append(items, i)
	}
	for _, e := range accepted.Entries {
		if !e.Used && !isElsewhere(e.File) {
			items = append(items, item{
				File: accepted.Path, Line: e.Line, Column: 1, State: stateUnused,
				Text: fmt.Sprintf("accepts nothing, as there is no such change since %s: remove it", c.against),
			})
		}
	}
	return items
}

// shown returns the item with the name of its file as the format wants it.
func (c *checker) shown(i item, revision *history.Revision) item {
	isProto := i.State != stateUnused
	switch {
	case c.format != "github" && isProto:
		i.File = c.Source().Path(i.File)
	case isProto:
		i.File = revision.Prefix() + i.File // relative to the repository, as GitHub wants it
	case c.format == "github":
		if name, err := relative(c.Root, i.File); err == nil {
			i.File = revision.Prefix() + name
		}
	}
	return i
}

// compareAll compares files that were compiled in several sets because they declare
// the same names. Each set is compared with all files of now. If two of these declare
// the same name, the file in a directory of the set counts.
func compareAll(old, now [][]protoreflect.FileDescriptor, unstable func(protoreflect.FullName) bool) []breaking.Finding {
	var findings []breaking.Finding
	for _, set := range old {
		inSet := make(map[string]bool)
		for _, f := range set {
			inSet[path.Dir(f.Path())] = true
		}
		all := slices.Concat(now...)
		slices.SortStableFunc(all, func(a, b protoreflect.FileDescriptor) int {
			rank := map[bool]int{true: 1} // the last counts
			return rank[inSet[path.Dir(a.Path())]] - rank[inSet[path.Dir(b.Path())]]
		})
		findings = append(findings, breaking.Compare(set, all, unstable)...)
	}
	slices.SortFunc(findings, breaking.ByPlace)
	return slices.Compact(findings)
}

// compileAll compiles files. Any mistake is an error: a file that is left out would
// look like a removed one.
func compileAll(ctx context.Context, source compile.Source, names []string) (*compile.Result, error) {
	result, err := compile.Files(ctx, source, names)
	if err != nil {
		return nil, err
	}
	return result, result.Mistakes.Error(source)
}

// asItWas is the source of files at a revision. Files that git did not have, such as
// imports from outside of the root, are read from disk.
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
func filesToCompare(revision *history.Revision, root string, args []string, s streams) (old, now []string, err error) {
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
		s.saySkipped(found)
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

// withMoved returns the files as they were and, if one of now is not among these,
// the files that no longer exist: it may have been one of them.
func withMoved(revision *history.Revision, root string, old, now []string) []string {
	isOld := func(name string) bool { return slices.Contains(old, name) }
	if !slices.ContainsFunc(now, func(name string) bool { return !isOld(name) }) {
		return old
	}
	all := slices.Clone(old)
	for _, name := range filesAt(revision, ".") {
		_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
		if errors.Is(err, fs.ErrNotExist) && !isOld(name) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
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
