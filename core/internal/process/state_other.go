//go:build !linux

package process

// WhyStopped returns nothing: on this system nothing here looks at the state of a
// process. A call to a plugin that is stopped times out without saying so.
func WhyStopped(int) string { return "" }

// IsZombie returns false, as WhyStopped returns nothing.
func IsZombie(int) bool { return false }
