package generate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// A replacement is the new content of a file. It is in a temporary file beside the file
// until all new contents are on disk.
type replacement struct{ path, staged string }

// write writes the files that are not current, and returns their paths, sorted. It
// changes no file before all contents are in temporary files, so that a full disk or a
// killed process changes none.
func write(files []file, o Options) (written []string, err error) {
	var staged []replacement
	defer func() {
		for _, r := range staged { // after an error: temporary files without a rename
			_ = os.Remove(r.staged) // err already explains the failure
		}
	}()
	for _, f := range files {
		path := o.output(f.name)
		switch have, err := os.ReadFile(path); { //nolint:gosec // beside the user's file
		case err == nil && bytes.Equal(have, f.content):
			continue // keep the modification time
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		r := replacement{path, filepath.Join(filepath.Dir(path), fmt.Sprintf(".plugwire-gen-%d-%d", os.Getpid(), len(staged)))}
		if o.Out != "" {
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // source files are for everyone to read
				return nil, err
			}
		}
		staged = append(staged, r)
		if err := os.WriteFile(r.staged, f.content, 0o644); err != nil { //nolint:gosec // source files are for everyone to read
			return nil, err
		}
	}
	for len(staged) > 0 {
		if err := os.Rename(staged[0].staged, staged[0].path); err != nil {
			return written, err
		}
		written = append(written, staged[0].path)
		staged = staged[1:]
	}
	slices.Sort(written)
	return written, nil
}
