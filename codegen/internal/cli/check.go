package cli

import (
	"context"
	"errors"
	"flag"
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

Compares .proto files with a commit in git. Reports changes that break hosts and
plugins in use:

  - a service or a method is removed
  - a method has other messages, or is of another kind (unary, streaming)
  - a service belongs to another protocol
  - a field or an enum's value has another number, or is removed without reserved
  - a field has another type, or joins or leaves a oneof
  - a reserved number is used, or is no longer reserved

Names of fields and of enums' values may change, because they are not on the wire.
A service whose protocol has a higher version may change in any way. Changes in
unstable packages, such as acme.v1beta1, are printed. They do not fail the check,
unless a service of a stable package uses what changed.

To accept a change, copy its line from the output into a file, below a comment
with the reason:

  # No released host calls it.
  words/words.proto: method words.Words.Drop: removed

`

// acceptedFile is the default name of the list of accepted changes, in the root.
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
	var c checker
	c.addFlags(flags)
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
	old, err := compileAll(ctx, sourceAt(revision, c.Options), withMoved(revision, c.Root, oldNames, names))
	if err != nil {
		return err
	}
	changed, err := compileAll(ctx, c.Source(), names)
	if err != nil {
		return err
	}
	isElsewhere := func(file string) bool {
		isNamed := slices.Contains(oldNames, file) || slices.Contains(names, file)
		_, err := os.Stat(filepath.Join(c.Root, filepath.FromSlash(file)))
		return !isNamed && (err == nil || revision.Has(file))
	}
	items := c.judge(c.compare(old.Sets, changed.Sets, oldNames, names), accepted, isElsewhere)
	return c.print(items, len(oldNames), revision, s)
}

// addFlags adds the flags of check, and sets the defaults.
func (c *checker) addFlags(flags *flag.FlagSet) {
	c.Warnings = io.Discard // command generate prints the warnings
	sourceFlags(flags, &c.Options)
	flags.StringVar(&c.against, "against", "HEAD", "`revision` to compare with")
	flags.StringVar(&c.accepted, "accept", "", "`file` with accepted changes; by default "+acceptedFile+" in the root, if it exists")
	c.format = formats[0]
	flags.Func("format", "`text`, json (one object a line) or github (annotations); text by default", func(name string) error {
		c.format = name
		return checkFormat(name)
	})
	flags.Func("unstable", "`package` that is unstable, with the packages below it; can be repeated", func(name string) error {
		c.unstable = append(c.unstable, name)
		return nil
	})
	flags.BoolVar(&c.strict, "strict", false, "fail on changes in unstable packages too")
}

// print prints the items, and returns an error if one of them is a breaking change.
// files is the number of compared files.
func (c *checker) print(items []item, files int, revision *history.Revision, s streams) error {
	counts := make(map[string]int)
	for _, i := range items {
		counts[i.State]++
		if err := s.report(c.format, c.shown(i, revision)); err != nil {
			return err
		}
	}
	if broken := counts[stateBreaking]; broken > 0 {
		return errors.New(count(broken, "breaking change") + " since " + c.against + " (" + revision.String() + "): " +
			"restore the old declarations, or make a new version of the protocol beside the old one: a package that ends in the next .vN, or a service with that version in its option")
	}
	if c.format == formats[0] {
		s.say("no breaking change in %s since %s (%s)%s\n", count(files, ".proto file"), c.against, revision, exceptions(counts))
	}
	return nil
}

// exceptions describes the changes that did not fail the check.
func exceptions(counts map[string]int) string {
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
	return ", except " + strings.Join(parts, " and ")
}

// readAccepted reads the file of accepted changes. Without the -accept flag the file
// may be missing.
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

// compare returns the breaking changes of the named files. The old sets may also have
// files that no longer exist. From these, only findings in a file of names count: a
// declaration that moved there.
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

// judge returns an item for each finding, and for each unused entry of the accepted
// changes. It ignores an entry about a file that exists and was not compared.
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
				Text: fmt.Sprintf("unused: there is no such change since %s: remove the line", c.against),
			})
		}
	}
	return items
}

// shown returns the item with the path of its file in the form that the format needs.
func (c *checker) shown(i item, revision *history.Revision) item {
	isProto := i.State != stateUnused
	switch {
	case c.format != "github" && isProto:
		i.File = c.Source().Path(i.File)
	case isProto:
		i.File = revision.Prefix() + i.File // GitHub needs a path relative to the repository
	case c.format == "github":
		if name, err := relative(c.Root, i.File); err == nil {
			i.File = revision.Prefix() + name
		}
	}
	return i
}

// compareAll compares each old set with all files of now. There are several sets when
// directories declare the same names. If two files of now declare the same name,
// compareAll uses the file that is in a directory of the set.
func compareAll(old, now [][]protoreflect.FileDescriptor, unstable func(protoreflect.FullName) bool) []breaking.Finding {
	var findings []breaking.Finding
	for _, set := range old {
		inSet := make(map[string]bool)
		for _, f := range set {
			inSet[path.Dir(f.Path())] = true
		}
		all := slices.Concat(now...)
		slices.SortStableFunc(all, func(a, b protoreflect.FileDescriptor) int {
			rank := map[bool]int{true: 1} // breaking.Compare uses the last file that declares a name
			return rank[inSet[path.Dir(a.Path())]] - rank[inSet[path.Dir(b.Path())]]
		})
		findings = append(findings, breaking.Compare(set, all, unstable)...)
	}
	slices.SortFunc(findings, breaking.ByPlace)
	return slices.Compact(findings)
}

// compileAll compiles files. Any mistake is an error, because a file without a result
// would look like a removed file.
func compileAll(ctx context.Context, source compile.Source, names []string) (*compile.Result, error) {
	result, err := compile.Files(ctx, source, names)
	if err != nil {
		return nil, err
	}
	return result, result.Mistakes.Error(source)
}

// sourceAt returns the source of files at a revision. It reads files that are not in
// git from disk, such as imports from outside of the root.
func sourceAt(revision *history.Revision, o generate.Options) compile.Source {
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

// filesToCompare returns the names of the .proto files that the arguments name, at the
// revision and now. A file or a directory may exist only then or only now.
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
			return nil, nil, fmt.Errorf("%s: no .proto file, neither now nor at %s", arg, revision)
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

// withMoved returns the old files. If now has a new file, withMoved adds all files that
// no longer exist. The new file may be one of them under another name.
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

// filesAt returns the .proto files at a revision that walk would find below wanted.
func filesAt(revision *history.Revision, wanted string) []string {
	var found []string
	for _, name := range revision.Files() {
		if path.Ext(name) == ".proto" && (name == wanted || within(revision, name, wanted)) {
			found = append(found, name)
		}
	}
	return found
}

// within reports whether walk would find the file below the directory wanted.
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
