//go:build !linux && !darwin

package files

import "errors"

// renameExclusive would rename a file to a name that must not exist. This
// system has no such call, or none for directories that are open.
func renameExclusive(int, string, int, string) error { return errors.ErrUnsupported }
