package transport

import "github.com/plugwire/plugwire/core/internal/privdir"

// DirUser is implemented by a transport that makes something in the file system, and
// so wants [ListenConfig].Dir. A host makes the directory for it, and does not offer
// the transport where it cannot. For other transports a host goes on without one.
type DirUser interface {
	Transport

	// UsesDir reports whether Listen makes something in the directory.
	UsesDir() bool
}

// TempDir returns the absolute path of the directory for temporary files (TMPDIR), in
// which a transport makes a directory of its own when [ListenConfig].Dir is empty. It
// is an error if another user, who is not root, can rename or replace a part of that
// path: what is made there would be in that user's hands.
func TempDir() (string, error) { return privdir.TempDir() }
