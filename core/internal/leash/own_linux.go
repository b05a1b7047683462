package leash

import "errors"

// HoldOwn makes this process the only one that holds the leash of its group.
// Nothing closes the leash but the end of the process.
func HoldOwn(group int) error {
	l, err := New()
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	l.Inherited() // no other process gets it
	return l.tie(group)
}
