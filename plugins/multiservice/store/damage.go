package store

import (
	"fmt"
	"runtime/debug"
)

// DamagedError means that the database's file differs from what this package
// has written.
type DamagedError struct {
	Path string
	Err  error
}

// Error also says what to do.
func (e *DamagedError) Error() string {
	return fmt.Sprintf("the database %s is damaged: %v: put back a copy of the file, or move it away to begin with an empty database", e.Path, e.Err)
}

// Unwrap returns the error of the file.
func (e *DamagedError) Unwrap() error { return e.Err }

// guard calls read, which reads the database's file, and returns a DamagedError
// if it panics. bbolt maps the file into memory and trusts it: on a damaged
// file it panics, or accesses memory outside of the map.
func guard(path string, read func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if reason := recover(); reason != nil {
			err = &DamagedError{path, fmt.Errorf("reading it: %v", reason)}
		}
	}()
	read()
	return nil
}
