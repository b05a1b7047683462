package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Discover returns the absolute paths of the programs in a directory whose file names
// match the pattern ([filepath.Match]), such as "*-plugin", in the order of their names.
// On Windows the pattern is compared with the name without ".exe" too. Links are
// followed; directories below dir are not searched.
//
// The second result has the files that match and are left out, with the reason: a
// directory, a file that this process may not execute, a link that leads nowhere. Show
// them to the person who has installed the plugins. An error is about the directory or
// the pattern: the directory is not empty ("." is the working directory), and the pattern
// has no separator.
//
// A program that is found need not be a plugin: [Launch] finds that out. Every user that
// may write to the directory decides what the host runs.
func Discover(dir, pattern string) (programs []string, skipped []SkippedFile, err error) {
	if _, err := filepath.Match(pattern, ""); err != nil {
		return nil, nil, fmt.Errorf("discover plugins: pattern %q: %w", pattern, err)
	}
	switch {
	case dir == "": // often a variable that is not set: the working directory may be anyone's
		return nil, nil, errors.New(`discover plugins: the directory is empty: give "." for the working directory`)
	case pattern != filepath.Base(pattern):
		return nil, nil, fmt.Errorf("discover plugins: pattern %q is not one for file names, which have no separator", pattern)
	}
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("discover plugins: %w", err)
	}
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, nil, fmt.Errorf("discover plugins: %w", err)
	}
	for _, entry := range entries {
		if !matchesProgram(pattern, entry.Name()) {
			continue
		}
		path := filepath.Join(dir, entry.Name())
		if err := checkProgram(path); err != nil {
			skipped = append(skipped, SkippedFile{Path: path, Err: err})
			continue
		}
		programs = append(programs, path)
	}
	return programs, skipped, nil
}

// SkippedFile is a file that [Discover] has left out.
type SkippedFile struct {
	Path string
	// Err is the reason.
	Err error
}

// String returns the path and the reason.
func (s SkippedFile) String() string { return s.Path + ": " + s.Err.Error() }

// matchesProgram compares a file name with a pattern that is valid.
func matchesProgram(pattern, name string) bool {
	matches, _ := filepath.Match(pattern, name)
	if !matches && runtime.GOOS == "windows" {
		matches, _ = filepath.Match(pattern, strings.TrimSuffix(name, ".exe"))
	}
	return matches
}

var (
	errDirectory  = errors.New("it is a directory")
	errNotRegular = errors.New("it is not a regular file")
)

// checkProgram returns why the file at path cannot be executed; nil if it can.
func checkProgram(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return withoutPath(err)
	}
	switch {
	case info.IsDir():
		return errDirectory
	case !info.Mode().IsRegular():
		return errNotRegular
	}
	if _, err := exec.LookPath(path); err != nil {
		return fmt.Errorf("this process may not execute it: %w", withoutPath(err))
	}
	return nil
}

// withoutPath returns the reason in err, which is about a path that the reader knows.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*exec.Error](err); ok {
		return e.Err
	}
	return err
}
