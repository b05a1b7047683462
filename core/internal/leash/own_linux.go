package leash

import "errors"

// HoldOwn makes this process the only holder of a new leash of its group. The leash stays
// until this process ends.
func HoldOwn(group int) error {
	l, err := New()
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err != nil {
		return err
	}
	l.Inherited() // no other process inherits it
	return l.tie(group)
}
