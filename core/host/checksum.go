package host

import (
	"bytes"
	"context"
	"crypto"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512" // as well
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/plugwire/plugwire/core/internal/privdir"
	"github.com/plugwire/plugwire/core/internal/process"
)

// ErrChecksum is why a program was not run that is not the one whose sum was
// given with [WithChecksum].
var ErrChecksum = errors.New("the checksum of the program is not the one that it must have")

// maxProgram bounds a program that is verified, which is copied into memory: none
// that anybody ships is near it, and a mistake in the path must not fill the
// memory or the disk.
const maxProgram = 4 << 30

var errLargeProgram = fmt.Errorf("it is larger than the %d GiB that a program with a checksum may have", maxProgram>>30)

// copyPiece is how much of a program is copied between two looks at the context.
const copyPiece = 1 << 20

// WithChecksum runs the plugin only if its executable file has the given sum by
// SHA-256, SHA-384 or SHA-512; otherwise the start fails with [ErrChecksum] and
// nothing has run. What runs is what was verified: the file is copied, and the copy is
// hashed and run, whatever becomes of the file. On Linux the copy is
// in memory and sealed, so that nobody can change it. Elsewhere, or where the
// system refuses that, it is a file of the host's user, in a directory that only the
// host's and the plugin's users can enter. It is there until the process has ended.
//
// The sum is of that one file. Of a script it says nothing of its interpreter, nor
// of a program about the libraries that it loads.
//
// The plugin sees its own name, Args[0], but os.Executable tells where the copy
// is, which on Linux is in memory and cannot be started again or found files
// beside; the system's list of processes has a number for its short name there.
// Set-user-ID bits and file capabilities do not take effect.
//
// It is for processes of this machine. A [Runner] that the user gives verifies
// what it starts, and an attached plugin runs already: both are errors.
func WithChecksum(hash crypto.Hash, sum []byte) Option {
	return optionFunc(func(cfg *config) error {
		switch hash {
		case crypto.SHA256, crypto.SHA384, crypto.SHA512:
		default:
			return fmt.Errorf("host.WithChecksum: %v: want crypto.SHA256, crypto.SHA384 or crypto.SHA512", hash)
		}
		if len(sum) != hash.Size() {
			return fmt.Errorf("host.WithChecksum: the sum is %d bytes long, and one of %v is %d: give the bytes, not their hexadecimal text", len(sum), hash, hash.Size())
		}
		cfg.checksum = &checksum{hash, slices.Clone(sum)}
		return nil
	})
}

// checksum is what a program must have.
type checksum struct {
	hash crypto.Hash
	sum  []byte
}

// verify makes the copy of the program that will be run, if a checksum is asked
// for.
func (l *launch) verify(ctx context.Context, cmd *exec.Cmd) error {
	if l.checksum == nil {
		return nil
	}
	if root := chroot(cmd); root != "" {
		return fmt.Errorf("host.WithChecksum does not go with SysProcAttr.Chroot: the copy that is run is not below %s", root)
	}
	path := cmd.Path
	if !filepath.IsAbs(path) {
		if cmd.Dir != "" || filepath.Base(path) == path {
			return fmt.Errorf("host.WithChecksum: which file the command %q is depends on directories: give exec.Command the absolute path of the plugin", path)
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		path = abs
	}
	var err error
	l.verified, err = l.checksum.copy(ctx, path, pluginUser(cmd))
	return because(ctx, err)
}

// copy returns a copy of the file, for another user if user is not nil, if it has the
// sum.
func (c *checksum) copy(ctx context.Context, path string, user *privdir.User) (*process.Copy, error) {
	f, err := process.OpenProgram(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a regular file (%v), and only one can have a checksum", path, info.Mode().Type())
	case info.Size() > maxProgram:
		return nil, fmt.Errorf("%s: %w", path, errLargeProgram)
	case info.Mode().Perm()&0o111 == 0 && runtime.GOOS != "windows":
		// A copy could be run all the same.
		return nil, &fs.PathError{Op: "exec", Path: path, Err: syscall.EACCES}
	}
	verified, err := process.NewCopy(filepath.Base(path), user, func(w io.Writer) error { return copyProgram(ctx, w, f) })
	if err != nil {
		return nil, fmt.Errorf("copy %s to verify it: %w", path, err)
	}
	if err := c.check(ctx, verified, path); err != nil {
		return nil, errors.Join(err, verified.Close())
	}
	return verified, nil
}

// check reports whether the copy of path has the sum.
func (c *checksum) check(ctx context.Context, verified *process.Copy, path string) error {
	r, err := verified.Open()
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // opened for reading
	sum := c.hash.New()
	if err := copyProgram(ctx, sum, r); err != nil {
		return fmt.Errorf("verify %s: %w", path, err)
	}
	if got := sum.Sum(nil); !bytes.Equal(got, c.sum) {
		return fmt.Errorf("%w: %s has %v %x, want %x", ErrChecksum, path, c.hash, got, c.sum)
	}
	return nil
}

// copyProgram copies all of r, until ctx ends.
func copyProgram(ctx context.Context, w io.Writer, r io.Reader) error {
	for n := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		more, err := io.CopyN(w, r, copyPiece)
		n += more
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case n > maxProgram:
			return errLargeProgram
		}
	}
}
