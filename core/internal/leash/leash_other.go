//go:build !linux

package leash

import (
	"errors"
	"os"
)

// Leash is not available: only Linux can send a signal to a group when a pipe ends. On
// Windows a Job object does the same. On other systems, processes that a plugin has started
// outlive host and plugin when both die at the same moment.
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
