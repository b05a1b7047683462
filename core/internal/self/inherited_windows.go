package self

import (
	"errors"
	"os"
)

// Identify is not supported.
func Identify(*os.File) (FileID, error) { return FileID{}, errors.ErrUnsupported }

// Inherit is not supported: a process has no numbered descriptors on Windows.
func (Descriptor) Inherit() (*os.File, error) { return nil, errors.ErrUnsupported }
