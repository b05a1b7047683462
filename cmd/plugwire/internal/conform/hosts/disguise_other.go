//go:build !unix

package hosts

// disguise returns the program itself: this system runs no scripts.
func disguise(_, program string) (string, error) { return program, nil }
