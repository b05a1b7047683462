package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"github.com/plugwire/plugwire/core/internal/privdir"
)

// Copy is a copy of a program that runs in place of the original. Changes of the original
// file do not affect what runs. The methods of a nil Copy do nothing.
type Copy struct {
	memory *os.File     // sealed; nil for a copy in a directory
	path   string       // of the copy in a directory
	remove func() error // removes the directory
}

// NewCopy makes a copy of a program with the given file name, whose content fill writes. If
// user is not nil, the process is that user's. Where the system can seal memory, the copy is
// in sealed memory. Otherwise it is a file in a directory of this user. The user of the
// process can enter the directory and cannot write there.
func NewCopy(name string, user *privdir.User, fill func(io.Writer) error) (*Copy, error) {
	f, err := newMemory()
	if err != nil {
		return newCopyInDir(name, user, fill)
	}
	if err = fill(f); err == nil {
		err = seal(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Copy{memory: f}, nil
}

// The modes let this user, or also the group of another user, read and execute a copy. The
// interpreter of a script reads it.
const (
	copyMode   = 0o500
	sharedMode = 0o550
)

func newCopyInDir(name string, user *privdir.User, fill func(io.Writer) error) (_ *Copy, err error) {
	path, remove, err := newCopyPath(name, user)
	if err != nil {
		return nil, err
	}
	c := &Copy{path: path, remove: remove}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	f, err := os.OpenFile(c.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, copyMode)
	if err != nil {
		return nil, fmt.Errorf("private copy of the program: %w", err)
	}
	err = fill(f)
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok && pathErr.Path == path {
		err = fmt.Errorf("%w: %w", privdir.ErrDir, err)
	}
	if err == nil {
		err = shareCopy(f, user)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	// A process that another goroutine is starting has the file open for writing until it
	// executes its program. Until then the copy cannot be executed ("text file busy"). No
	// process is being started while this goroutine holds ForkLock.
	syscall.ForkLock.Lock()
	syscall.ForkLock.Unlock() //nolint:staticcheck // all starts before the lock are done
	if err := checkExecutable(c.path); err != nil {
		return nil, err
	}
	return c, nil
}

// Open opens the copy for reading. Hash what Open returns, not the bytes as they were
// written: until the seal, another process of this user can still change them.
func (c *Copy) Open() (Program, error) {
	if c.memory == nil {
		return os.Open(c.path)
	}
	info, err := c.memory.Stat()
	if err != nil {
		return nil, err
	}
	return memoryReader{io.NewSectionReader(c.memory, 0, info.Size())}, nil
}

// Program is the file of a program, opened for reading.
type Program interface {
	io.Reader
	io.ReaderAt
	io.Closer
}

// memoryReader reads a copy in memory, which stays open.
type memoryReader struct{ *io.SectionReader }

// Close implements [io.Closer].
func (memoryReader) Close() error { return nil }

// Use changes cmd so that it runs the copy. The name in its Args stays. No file may be added
// to cmd after that.
func (c *Copy) Use(cmd *exec.Cmd) {
	if c == nil {
		return
	}
	if len(cmd.Args) == 0 {
		cmd.Args = []string{cmd.Path}
	}
	cmd.Path = c.path
	if c.memory != nil {
		// The path names the descriptor in the new process. It stays open there, since
		// the interpreter of a script opens the path again.
		cmd.ExtraFiles = append(cmd.ExtraFiles, c.memory)
		cmd.Path = descriptorDir + strconv.Itoa(firstExtraFile+len(cmd.ExtraFiles)-1)
	}
}

// firstExtraFile is the descriptor of the first of [exec.Cmd.ExtraFiles].
const firstExtraFile = 3

// Started releases the memory of the copy, which a process that runs holds by itself.
func (c *Copy) Started() {
	if c != nil && c.memory != nil {
		_ = c.memory.Close() // nothing is left to write
	}
}

// Close removes the copy. Call it when the process has ended. An error says what could not
// be removed. Close is idempotent.
func (c *Copy) Close() error {
	c.Started()
	if c == nil || c.remove == nil {
		return nil
	}
	remove := c.remove
	c.remove = nil
	return remove()
}
