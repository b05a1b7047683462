//go:build !linux

package leash

import (
	"errors"
	"os"
)

// Leash does not exist: only Linux sends any signal to a group when a pipe ends. On
// Windows a Job object does all that it does; elsewhere what a plugin has started
// outlives the two when they die in the same moment.
type Leash struct{}

// New returns [errors.ErrUnsupported].
func New() (*Leash, error) { return nil, errors.ErrUnsupported }

// File returns nothing.
func (*Leash) File() *os.File { return nil }

// Inherited does nothing.
func (*Leash) Inherited() {}

// TieTo does nothing.
func (*Leash) TieTo(*os.Process) error { return nil }

// Close does nothing.
func (*Leash) Close() {}
