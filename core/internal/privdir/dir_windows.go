package privdir

import "errors"

// Supported says whether this system has private directories. No transport that is
// offered on Windows needs one.
const Supported = false

// Dir is not used on this system.
type Dir struct{}

// New returns an error.
func New(*User) (*Dir, error) { return nil, errors.ErrUnsupported }

// NewIn returns an error.
func NewIn(string, *User) (*Dir, error) { return nil, errors.ErrUnsupported }

// Common returns an error.
func Common() (string, error) { return "", errors.ErrUnsupported }

// Path returns nothing.
func (*Dir) Path() string { return "" }

// Own returns nothing.
func (*Dir) Own() string { return "" }

// Look does nothing.
func (*Dir) Look() {}

// Sweep does nothing.
func (*Dir) Sweep() {}

// Close does nothing.
func (*Dir) Close() error { return nil }

// inspect allows every path: a user's directory for temporary files is in the
// user's profile, which other users cannot change.
func inspect(string) (string, error) { return "", nil }

func describeTemp(dir string) string { return dir }
