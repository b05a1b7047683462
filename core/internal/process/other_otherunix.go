//go:build unix && !linux && !darwin

package process

import "errors"

// Other is a process that another process has started. On these systems, this package cannot
// tell it from a later process with the same number.
type Other struct{}

// OpenOther is not supported.
func OpenOther(int) (*Other, error) { return nil, errors.ErrUnsupported }

// Started returns nothing.
func (*Other) Started() string { return "" }

// Wait is not supported.
func (*Other) Wait() error { return errors.ErrUnsupported }

// Terminate is not supported.
func (*Other) Terminate() error { return errors.ErrUnsupported }

// Kill is not supported.
func (*Other) Kill() error { return errors.ErrUnsupported }

// Close does nothing.
func (*Other) Close() error { return nil }

// StartTime is not supported.
func StartTime(int) (string, error) { return "", errors.ErrUnsupported }
