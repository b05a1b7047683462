package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/plugwire/plugwire/plugins/streaming/internal/filelock"
)

// partSuffix ends the name of an incomplete file. No other program uses it, so
// the host may replace a file of that name.
const partSuffix = ".plugwire-part"

// maxName is how long a name can be on the file systems in use, in bytes.
const maxName = 255

// A part is the received part of a file. It has a name of its own until it is
// complete.
type part struct {
	path string // path of the complete file
	file *os.File
}

// openPart opens the received part of the file for path. No other process can
// open it until it is closed.
func openPart(path string) (*part, error) {
	name := partName(path)
	if info, err := os.Lstat(name); err == nil {
		if !info.Mode().IsRegular() {
			return nil, fmt.Errorf("%s is not a regular file: move it away", name)
		}
		// A host that was killed while it published the file may have left both
		// names.
		if there, err := os.Lstat(path); err == nil && os.SameFile(info, there) {
			if err := os.Remove(name); err != nil {
				return nil, err
			}
		}
	}
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	p := &part{path, file}
	if err := p.lock(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return p, nil
}

// lock locks the part and checks that it is still the part. The process that had
// the lock may have published it just now, and then it is a complete file of the
// user.
func (p *part) lock() error {
	switch err := filelock.Lock(p.file); {
	case errors.Is(err, filelock.ErrLocked):
		return fmt.Errorf("%s: another process is getting this file", p.file.Name())
	case err != nil:
		return err
	}
	held, err := p.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Lstat(p.file.Name())
	if err != nil || !os.SameFile(held, there) {
		return fmt.Errorf("%s: another process has just got this file", p.file.Name())
	}
	return nil
}

// partName returns the name of the received part of the file for path.
func partName(path string) string {
	dir, base := filepath.Split(path)
	if len(base)+len(partSuffix) > maxName {
		base = fmt.Sprintf("%x", sha256.Sum256([]byte(base)))
	}
	return dir + base + partSuffix
}

func (p *part) size() (int64, error) {
	info, err := p.file.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// cut drops everything after the first n bytes, and moves there.
func (p *part) cut(n int64) error {
	if err := p.file.Truncate(n); err != nil {
		return err
	}
	_, err := p.file.Seek(n, io.SeekStart)
	return err
}

// publish gives the complete file its name.
func (p *part) publish(overwrite bool) error {
	if err := p.file.Sync(); err != nil {
		return err
	}
	if !overwrite {
		// A link fails if another process has made a file of that name
		// meanwhile. Without links, only a check is possible.
		switch err := os.Link(p.file.Name(), p.path); {
		case err == nil:
			return os.Remove(p.file.Name())
		case errors.Is(err, fs.ErrExist):
			return exists(p.path)
		}
		if err := checkLocal(p.path, false); err != nil {
			return err
		}
	}
	return os.Rename(p.file.Name(), p.path)
}

// discard removes the part.
func (p *part) discard() error { return os.Remove(p.file.Name()) }

// close closes the part, and removes an empty one.
func (p *part) close() error {
	info, err := p.file.Stat()
	if err == nil && info.Size() == 0 {
		if there, err := os.Lstat(p.file.Name()); err == nil && os.SameFile(info, there) {
			return errors.Join(p.discard(), p.file.Close())
		}
	}
	return errors.Join(err, p.file.Close())
}

// checkLocal checks that the host may write a file at path.
func checkLocal(path string, overwrite bool) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !overwrite:
		return exists(path)
	case !info.Mode().IsRegular() && info.Mode()&fs.ModeSymlink == 0:
		return fmt.Errorf("%s is not a regular file and is not replaced", path)
	}
	return nil
}

func exists(path string) error { return fmt.Errorf("%s exists: -overwrite replaces it", path) }
