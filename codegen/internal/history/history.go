// Package history reads files as they were at a revision, through git. Begin
// with [At].
package history

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
)

// A Revision is a directory of a repository as it was.
type Revision struct {
	ctx    context.Context //nolint:containedctx // of one command; compile.Source has no place for it
	dir    string
	commit string
}

// At returns dir as it was at a revision, which is any name that git knows. The
// context is for the life of the Revision.
func At(ctx context.Context, dir, revision string) (*Revision, error) {
	r := &Revision{ctx: ctx, dir: dir}
	if _, err := r.git("rev-parse", "--git-dir"); err != nil {
		return nil, fmt.Errorf("no git repository to compare with: %w", err)
	}
	commit, err := r.git("rev-parse", "--verify", "--quiet", "--end-of-options", revision+"^{commit}")
	if err != nil {
		return nil, fmt.Errorf("revision %s: there is no such commit", revision)
	}
	r.commit = strings.TrimSpace(string(commit))
	return r, nil
}

// String returns the short name of the commit.
func (r *Revision) String() string { return r.commit[:min(12, len(r.commit))] }

// Files returns the slash-separated names of all files, relative to the
// directory.
func (r *Revision) Files() ([]string, error) {
	out, err := r.git("ls-tree", "-r", "-z", "--name-only", r.commit)
	if err != nil {
		return nil, err
	}
	return strings.FieldsFunc(string(out), func(c rune) bool { return c == 0 }), nil
}

// Open opens a file.
func (r *Revision) Open(name string) (io.ReadCloser, error) {
	out, err := r.git("cat-file", "blob", r.commit+":./"+name)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(out)), nil
}

func (r *Revision) git(args ...string) ([]byte, error) {
	var stderr bytes.Buffer
	cmd := exec.CommandContext(r.ctx, "git", args...) //nolint:gosec // nothing here is an option but what is meant to be
	cmd.Dir = r.dir
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
