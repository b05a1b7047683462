//go:build !linux

package process

import (
	"errors"
	"os"
)

// descriptorDir is not used: only Linux can execute files in memory.
const descriptorDir = ""

func newMemory() (*os.File, error) { return nil, errors.ErrUnsupported }

func seal(*os.File) error { return errors.ErrUnsupported }
