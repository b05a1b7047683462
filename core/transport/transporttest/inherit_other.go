//go:build !unix

package transporttest

import (
	"errors"
	"os"
)

// canInherit tells whether a process can inherit any open file on this system.
// Package os/exec does not support ExtraFiles here.
const canInherit = false

func inherit(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
