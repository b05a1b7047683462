package files

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/streaming/internal/refuse"
)

// status returns the system's error about a file as a gRPC status. Its text has
// no path outside of the root.
func (s *Store) status(name string, err error) error {
	name = quote(name)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	case errors.Is(err, s.escaped):
		return status.Errorf(codes.PermissionDenied, "file_path %s leaves the root through a symbolic link", name)
	case forbidden(err):
		return status.Errorf(codes.PermissionDenied, "the plugin may not use %s: %v", name, reason(err))
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR):
		return status.Errorf(codes.NotFound, "there is no file %s", name)
	case errors.Is(err, fs.ErrExist):
		return exists(name)
	case errors.Is(err, syscall.ENAMETOOLONG):
		return refuse.Invalid("file_path", "file_path %s is too long for the plugin's file system", name)
	case errors.Is(err, syscall.ELOOP):
		return status.Errorf(codes.FailedPrecondition, "%s is behind too many symbolic links", name)
	case errors.Is(err, syscall.EISDIR):
		return status.Errorf(codes.FailedPrecondition, "%s is a directory", name)
	case isFull(err):
		return status.Errorf(codes.ResourceExhausted, "the plugin has no room for %s: %v", name, reason(err))
	case errors.Is(err, errNoLinks):
		return status.Errorf(codes.FailedPrecondition,
			"%s could replace a file, because the plugin's file system has neither hard links nor another way to prevent that: set overwrite to allow it", name)
	case errors.Is(err, fs.ErrClosed):
		return status.Errorf(codes.Unavailable, "the plugin is closing its files")
	}
	return status.Errorf(codes.Internal, "the plugin cannot use %s: %v", name, reason(err))
}

// forbidden reports whether the system refuses the plugin permission.
func forbidden(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS)
}

// exists is the answer to an upload that would replace a file. The name is
// quoted.
func exists(name string) error {
	return status.Errorf(codes.AlreadyExists, "there is a file %s already, and overwrite is not set", name)
}

// notRegular is the answer for a file that is not a regular file. It returns nil
// for a regular file.
func notRegular(name string, info fs.FileInfo) error {
	mode := info.Mode()
	kind := "not a regular file"
	switch {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		kind = "a directory"
	case mode&fs.ModeNamedPipe != 0:
		kind = "a named pipe"
	case mode&fs.ModeSocket != 0:
		kind = "a socket"
	case mode&fs.ModeDevice != 0:
		kind = "a device"
	}
	return status.Errorf(codes.FailedPrecondition, "%s is %s", quote(name), kind)
}

// reason returns the innermost error: the errors around it name operations and
// files of the plugin.
func reason(err error) error {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err
		}
		err = inner
	}
}
