package targets

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	modpath "golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// publishAll publishes the modules that can be tagged on main, then those that
// depend on them and need a commit of their own.
func (p *proof) publishAll(ctx context.Context) error {
	for _, m := range p.modules {
		if !m.needsSideCommit() {
			if err := p.publish(ctx, m, "main"); err != nil {
				return err
			}
		}
	}
	for _, m := range p.modules {
		if m.needsSideCommit() {
			if err := p.publishSideCommit(ctx, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// publishSideCommit publishes the module at a commit that drops the replaces
// and adds the siblings' sums.
func (p *proof) publishSideCommit(ctx context.Context, m module) error {
	inClone := place{name: m.name, dir: filepath.Join(p.clone.dir, m.dir), env: p.consumer}
	inClone = inClone.with("GOMODCACHE=" + p.path("publisher-modcache")) // the consumers' module cache must be empty
	edit := []string{"go", "mod", "edit"}
	for _, r := range m.file.Replace {
		edit = append(edit, "-dropreplace="+r.Old.Path)
	}
	git := []string{
		"git", "-c", "user.name=proof", "-c", "user.email=proof@localhost",
		"-c", "commit.gpgsign=false", "-c", "core.hooksPath=/dev/null",
	}
	for _, args := range [][]string{
		edit,
		{"go", "mod", "tidy"},
		append(git, "commit", "--quiet", "--all", "--message", "release: "+m.dir+" without replaces"),
	} {
		if err := inClone.quiet(ctx, args...); err != nil {
			return err
		}
	}
	if err := p.publish(ctx, m, "a side commit"); err != nil {
		return err
	}
	return inClone.quiet(ctx, "git", "reset", "--quiet", "--hard", "HEAD~")
}

// publish tags the clone's HEAD and writes what a module proxy serves for the tag.
func (p *proof) publish(ctx context.Context, m module, where string) error {
	tag := filepath.ToSlash(m.dir) + "/" + nextVersion
	if err := p.clone.quiet(ctx, "git", "-c", "tag.gpgsign=false", "tag", tag); err != nil {
		return err
	}
	escaped, err := modpath.EscapePath(m.path())
	if err != nil {
		return err
	}
	// The go command adds the repository's license to a module without one, so
	// the zip made here would differ from the one that users get.
	if _, err := os.Stat(filepath.Join(p.clone.dir, m.dir, "LICENSE")); err != nil {
		return fmt.Errorf("%s: every published module has its license: %w", m.name, err)
	}
	gomod, err := os.ReadFile(filepath.Join(p.clone.dir, m.dir, "go.mod"))
	if err != nil {
		return err
	}
	var archive bytes.Buffer
	version := modpath.Version{Path: m.path(), Version: nextVersion}
	if err := zip.CreateFromVCS(&archive, version, p.clone.dir, tag, filepath.ToSlash(m.dir)); err != nil {
		return fmt.Errorf("%s: zip: %w", m.name, err)
	}
	dir := p.path("proxy", filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"list":                []byte(nextVersion + "\n"),
		nextVersion + ".info": []byte(`{"Version":"` + nextVersion + `"}`),
		nextVersion + ".mod":  gomod,
		nextVersion + ".zip":  archive.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	say("tagged %s on %s, %d bytes", tag, where, archive.Len())
	return nil
}
