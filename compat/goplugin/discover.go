package plugin

import "path/filepath"

// Discover returns the absolute paths of the files in a directory whose names match a pattern
// (filepath.Match). It does not look at the files themselves.
func Discover(glob, dir string) ([]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return filepath.Glob(filepath.Join(dir, glob))
}
