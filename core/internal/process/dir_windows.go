package process

import (
	"errors"
	"io/fs"
	"os"
)

// DirSupported says whether this system has private directories. No transport
// that is offered on Windows needs one.
const DirSupported = false

func lockDir(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func removeOurs(*os.File) {}

func ownedPrivately(fs.FileInfo) bool { return false }
