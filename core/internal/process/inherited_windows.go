package process

import (
	"errors"
	"os"
)

// Inherited is not supported: a process has no numbered descriptors here.
func Inherited(int) (*os.File, error) { return nil, errors.ErrUnsupported }
