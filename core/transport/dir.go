package transport

import "github.com/plugwire/plugwire/core/internal/privdir"

// DirUser is implemented by a transport that makes something in the file system, and
// so needs [ListenConfig].Dir. A host makes the directory for it, and does not offer
// the transport if it cannot make one. For other transports a host starts the plugin
// without a directory.
type DirUser interface {
	Transport

	// UsesDir reports whether Listen makes something in the directory.
	UsesDir() bool
}

// TempDir returns the absolute path of the directory for temporary files (TMPDIR), in
// which a transport makes a directory of its own when [ListenConfig].Dir is empty. It
// is an error if another user, except root, can rename or replace a part of that
// path: that user could replace everything that is made there.
func TempDir() (string, error) { return privdir.TempDir() }
