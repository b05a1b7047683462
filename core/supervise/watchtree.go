package supervise

import (
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

const (
	// maxSources bounds how many files a watcher looks at. Someone who watches more has
	// named a directory with something else in it, such as a home directory.
	maxSources = 50_000
	// maxHashedSource bounds what is read to find out whether a file that was written has
	// other content. A larger file counts as changed.
	maxHashedSource = 4 << 20
)

// tree is what a watcher has seen of the sources.
type tree struct {
	files map[string]fs.FileInfo
	// sums are of the content of files that were written before. A build command may write
	// a generated file among the sources. With the same content it is no change, or each
	// build would cause the next one.
	sums map[string][sha256.Size]byte
}

// sameFile reports whether nobody has written a file between two looks.
func sameFile(a, b fs.FileInfo) bool {
	return a.Size() == b.Size() && a.Mode() == b.Mode() && a.ModTime().Equal(b.ModTime())
}

// same reports whether nothing has changed between two looks. A nil tree is a look that
// failed.
func (t *tree) same(u *tree) bool {
	return t != nil && u != nil && maps.EqualFunc(t.files, u.files, sameFile)
}

// written returns the paths, in order, whose files are new, gone or written in now.
func (t *tree) written(now *tree) []string {
	var paths []string
	for path, info := range now.files {
		if old, ok := t.files[path]; !ok || !sameFile(old, info) {
			paths = append(paths, path)
		}
	}
	for path := range t.files {
		if _, ok := now.files[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// changed returns the first path whose file is new, gone or has other content in now. It
// is "" if there is none. Content that the tree has no sum of counts as changed.
func (t *tree) changed(now *tree) string {
	for _, path := range t.written(now) {
		sum, ok := hashSource(path)
		if old, known := t.sums[path]; !ok || !known || sum != old {
			return path
		}
	}
	t.files = now.files // so that the same files are not read again
	return ""
}

// next makes now the tree that was built last: it gets the sums, and those of the files
// that were written since.
func (t *tree) next(now *tree) *tree {
	now.sums = t.sums
	for _, path := range t.written(now) {
		if sum, ok := hashSource(path); ok {
			now.sums[path] = sum
		} else {
			delete(now.sums, path)
		}
	}
	return now
}

// hashSource returns the checksum of a file that is not too large.
func hashSource(path string) (sum [sha256.Size]byte, ok bool) {
	f, err := os.Open(path) //nolint:gosec // a file below a directory that the user names
	if err != nil {
		return sum, false
	}
	defer f.Close() //nolint:errcheck // it was only read
	h := sha256.New()
	n, err := io.Copy(h, io.LimitReader(f, maxHashedSource+1))
	if err != nil || n > maxHashedSource {
		return sum, false
	}
	return [sha256.Size]byte(h.Sum(nil)), true
}

// look looks at the sources now.
func (w *Watcher) look() (*tree, error) {
	t := &tree{files: make(map[string]fs.FileInfo), sums: make(map[string][sha256.Size]byte)}
	for _, source := range w.sources {
		root, err := filepath.EvalSymlinks(source) // WalkDir does not follow a link
		if err != nil {
			return nil, err
		}
		if err := t.add(root, w.program); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// add adds the regular files below a directory, or the file that root is. A file that is
// gone when add comes to it does not count.
func (t *tree) add(root, program string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name := filepath.Base(path); {
		case err != nil && path == root:
			return err
		case err != nil: // it is gone, or nobody may read it
			return nil //nolint:nilerr // it does not count
		case path != root && (strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~")):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case !d.Type().IsRegular() || isPath(path, program):
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return nil //nolint:nilerr // it is gone
		}
		t.files[path] = info
		if len(t.files) > maxSources {
			return fmt.Errorf("there are more than %d files below %s", maxSources, root)
		}
		return nil
	})
}

// isPath reports whether two paths name the same place.
func isPath(a, b string) bool {
	if filepath.Base(a) != filepath.Base(b) {
		return false
	}
	dirA, errA := os.Stat(filepath.Dir(a))
	dirB, errB := os.Stat(filepath.Dir(b))
	return errA == nil && errB == nil && os.SameFile(dirA, dirB)
}
