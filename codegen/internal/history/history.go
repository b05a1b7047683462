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

// A Revision is a directory of a repository at a commit.
type Revision struct {
	ctx    context.Context //nolint:containedctx // bounds one run of the command; compile.Source cannot pass a context
	dir    string
	commit string
	prefix string
	files  []string // sorted
}

// At returns dir at a revision, which is any name of a commit that git knows. The
// context bounds the life of the Revision.
func At(ctx context.Context, dir, revision string) (*Revision, error) {
	r := &Revision{ctx: ctx, dir: dir}
	switch shallow, err := r.git("rev-parse", "--is-shallow-repository"); {
	case errors.Is(err, exec.ErrNotFound):
		return nil, fmt.Errorf("check reads the former files through git: %w", err)
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

// Commit returns the commit that is checked out in a directory. It is empty if git
// knows no commit there.
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

// Prefix returns the path of the directory in the repository, with a slash at its
// end. The prefix of the root is empty.
func (r *Revision) Prefix() string { return r.prefix }

// Files returns the slash-separated names of all files, relative to the
// directory, sorted. Do not change the slice.
func (r *Revision) Files() []string { return r.files }

// Has reports whether the file existed.
func (r *Revision) Has(name string) bool {
	_, ok := slices.BinarySearch(r.files, name)
	return ok
}

// Open opens a file, and follows links. The error is [fs.ErrNotExist] if the
// repository had no such file, and another error if git cannot read the file.
func (r *Revision) Open(name string) (io.ReadCloser, error) {
	object := r.commit + ":./" + name
	if strings.Contains(name, "\n") {
		return nil, fmt.Errorf("%q: git cannot read a file with a line break in its name", name)
	}
	out, err := r.gitWith(object+"\n", "cat-file", "--batch", "--follow-symlinks")
	if err != nil {
		return nil, err
	}
	header, content, _ := bytes.Cut(out, []byte("\n"))
	var id string
	var size int
	switch n, _ := fmt.Sscanf(string(header), "%s blob %d", &id, &size); { // any other header says why there is no content
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
	cmd := exec.CommandContext(r.ctx, "git", args...) //nolint:gosec // no user input can become an option
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
