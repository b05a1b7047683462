package host

import (
	"bytes"
	"context"
	"crypto"
	_ "crypto/sha256" // for crypto.Hash.New
	_ "crypto/sha512" // for crypto.Hash.New
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

// ErrChecksum is why the host did not run a program: its sum is not the one given with
// [WithChecksum].
var ErrChecksum = errors.New("the program does not have the expected checksum")

// maxProgram bounds a verified program, which is copied into memory. No real program is
// near it, and a wrong path must not fill the memory or the disk.
const maxProgram = 4 << 30

var errLargeProgram = fmt.Errorf("it is larger than the %d GiB that a program with a checksum may have", maxProgram>>30)

// copyPiece is how many bytes of a program are copied between two looks at the context.
const copyPiece = 1 << 20

// WithChecksum runs the plugin only if its executable file has the given sum by
// SHA-256, SHA-384 or SHA-512. Otherwise the start fails with [ErrChecksum], and
// nothing has run. The host copies the file, then hashes the copy and runs it, so a
// later change of the file has no effect. On Linux the copy is in memory and sealed: no
// process can change it. On other systems, or where Linux refuses that, the copy is a
// file of the host's user, in a directory that only the host's and the plugin's users
// can enter. It is removed when the process has ended.
//
// The sum covers only that one file: neither the interpreter of a script, nor the
// libraries that a program loads.
//
// The plugin's Args[0] is unchanged, but os.Executable returns the place of the copy.
// On Linux that is in memory: it cannot be started again, no files are beside it, and
// the system's list of processes shows a number as its short name. Set-user-ID bits and
// file capabilities have no effect.
//
// A [Runner] must be a [PathRunner]. It is an error with any other, and for a plugin
// that runs already.
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

// checksum is the sum that a program must have.
type checksum struct {
	hash crypto.Hash
	sum  []byte
}

// verify makes the copy of the program that will run, if a checksum is given.
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

// copy returns a copy of the file if it has the sum. The copy is for another user if
// user is not nil.
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
		// The copy would be executable even so.
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
