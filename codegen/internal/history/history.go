// Package history reads files as they were at a revision, through git. Begin
// with [At].
package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"slices"
	"strings"
)

// A Revision is a directory of a repository as it was.
type Revision struct {
	ctx    context.Context //nolint:containedctx // of one command; compile.Source has no place for it
	dir    string
	commit string
	prefix string
	files  []string // sorted
}

// At returns dir as it was at a revision, which is any name that git knows. The
// context is for the life of the Revision.
func At(ctx context.Context, dir, revision string) (*Revision, error) {
	r := &Revision{ctx: ctx, dir: dir}
	switch shallow, err := r.git("rev-parse", "--is-shallow-repository"); {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("what the files were is read through git: %w", err)
	case err != nil:
		return nil, fmt.Errorf("no git repository to compare with: %w", err)
	default:
		commit, err := r.git("rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
		if err != nil && strings.TrimSpace(string(shallow)) == "true" {
			return nil, fmt.Errorf("revision %s: no such commit in this shallow clone: fetch it, or run git fetch --unshallow", revision)
		}
		if err != nil {
			return nil, fmt.Errorf("revision %s: there is no such commit", revision)
		}
		r.commit = strings.TrimSpace(string(commit))
	}
	prefix, err := r.git("rev-parse", "--show-prefix")
	if err != nil {
		return nil, err
	}
	r.prefix = strings.TrimSuffix(string(prefix), "\n")
	out, err := r.git("ls-tree", "-r", "-z", "--name-only", r.commit)
	if err != nil {
		return nil, err
	}
	r.files = strings.FieldsFunc(string(out), func(c rune) bool { return c == 0 })
	slices.Sort(r.files)
	return r, nil
}

// Commit returns the commit that is checked out in a directory, or nothing if git
// does not know one.
func Commit(ctx context.Context, dir string) string {
	r := &Revision{ctx: ctx, dir: dir}
	commit, err := r.git("rev-parse", "--verify", "--quiet", "HEAD")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(commit))
}

// String returns the short name of the commit.
func (r *Revision) String() string { return r.commit[:min(12, len(r.commit))] }

// Prefix returns the directory's name in the repository, with a slash at its end.
// It is empty for the root.
func (r *Revision) Prefix() string { return r.prefix }

// Files returns the slash-separated names of all files, relative to the
// directory, sorted. The slice is not to be changed.
func (r *Revision) Files() []string { return r.files }

// Has reports whether there was a file.
func (r *Revision) Has(name string) bool {
	_, ok := slices.BinarySearch(r.files, name)
	return ok
}

// Open opens a file, or the one that a link leads to. The error is
// [fs.ErrNotExist] if there was none in the repository, and another one if git
// cannot read it.
func (r *Revision) Open(name string) (io.ReadCloser, error) {
	object := r.commit + ":./" + name
	if strings.Contains(name, "\n") {
		return nil, fmt.Errorf("%q: git is asked for a file in one line", name)
	}
	out, err := r.gitWith(object+"\n", "cat-file", "--batch", "--follow-symlinks")
	if err != nil {
		return nil, err
	}
	header, content, _ := bytes.Cut(out, []byte("\n"))
	var id string
	var size int
	switch n, _ := fmt.Sscanf(string(header), "%s blob %d", &id, &size); { // anything else says why there is none
	case n == 2 && size <= len(content):
		return io.NopCloser(bytes.NewReader(content[:size])), nil
	case r.Has(name) && bytes.HasSuffix(header, []byte(" missing")):
		return nil, fmt.Errorf("git cat-file: %s", header)
	default:
		return nil, &fs.PathError{Op: "open", Path: r.String() + ":" + name, Err: fs.ErrNotExist}
	}
}

func (r *Revision) git(args ...string) ([]byte, error) { return r.gitWith("", args...) }

// gitWith runs git with a standard input, and returns its standard output.
func (r *Revision) gitWith(stdin string, args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(r.ctx, "git", args...) //nolint:gosec // nothing here is an option but what is meant to be
	cmd.Dir = r.dir
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if text := strings.TrimSpace(stderr.String()); err != nil && text != "" {
		return nil, fmt.Errorf("git %s: %w", args[0], errors.New(text))
	}
	if err != nil {
		return nil, fmt.Errorf("git %s: %w", args[0], err)
	}
	return out, nil
}
