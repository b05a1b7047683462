package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	fileName = "multiservice.db"
	// newPattern is the pattern for the name of the file while it is made.
	newPattern = "multiservice-*.new"

	// The data belongs to this user: no other user may read it.
	dirMode  = 0o700
	fileMode = 0o600
	// othersWrite is the permission that lets any user replace the file.
	othersWrite = 0o002

	// lockWait is how long Open waits for another process to release the database. It
	// is longer than the plugin of a killed host takes to end (2 s), and short for a
	// user who has started two hosts by mistake.
	lockWait = 3 * time.Second

	// maxSize bounds the file: a caller that stores without end must not fill
	// the disk. It also bounds the mapped memory.
	maxSize = 1 << 30
)

// config has the values that tests change.
type config struct {
	lockWait time.Duration
	maxSize  int // bytes
}

// LockedError means that another process has the database open.
type LockedError struct {
	Path   string
	Waited time.Duration
}

// Error also says what to do.
func (e *LockedError) Error() string {
	return fmt.Sprintf("the database %s is in use by another process, still after %v: end the host of that plugin, or use another directory", e.Path, e.Waited)
}

// Open opens the database in the directory dir, and makes both if they do not
// exist. Only one process at a time can open it: after waiting 3 s for another
// process the error is a [*LockedError]. A file that cannot be used is a
// [*DamagedError], after which this process may keep the file's lock. The caller
// closes the store.
func Open(dir string) (*Store, error) {
	return open(dir, config{lockWait: lockWait, maxSize: maxSize})
}

func open(dir string, cfg config) (*Store, error) {
	if err := prepareDir(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, fileName)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := create(dir, path); err != nil {
			return nil, fmt.Errorf("make the database %s: %w", path, err)
		}
	}
	if err := inspect(path); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(cfg.lockWait)
	locked := func(err error) error {
		if errors.Is(err, bolterrors.ErrTimeout) {
			return &LockedError{path, cfg.lockWait}
		}
		return err
	}
	// Open the file read-only first, because opening a truncated file may
	// change it.
	db, err := openFile(path, &bbolt.Options{ReadOnly: true, Timeout: remaining(deadline)})
	if err != nil {
		return nil, locked(err)
	}
	if err := errors.Join(check(path, db), db.Close()); err != nil {
		return nil, err
	}
	db, err = openFile(path, &bbolt.Options{MaxSize: cfg.maxSize, Timeout: remaining(deadline)})
	if err != nil {
		return nil, locked(err)
	}
	db.MaxBatchDelay, db.MaxBatchSize = batchDelay, batchWriters
	sweep(dir)
	return &Store{db, path}, nil
}

// prepareDir makes dir, or refuses one in which any user may replace the file.
func prepareDir(dir string) error {
	if dir == "" {
		return errors.New("the database's directory has no name")
	}
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("make the database's directory: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("the database's directory: %w", err)
	}
	// Windows has no such permissions, and reports that all are set.
	if runtime.GOOS != "windows" && info.Mode().Perm()&othersWrite != 0 {
		return fmt.Errorf("the database's directory %s has mode %v, so every user can replace the database: run chmod o-w on it, or use another directory", dir, info.Mode().Perm())
	}
	return nil
}

// create makes an empty database at path. The database appears complete or not
// at all, however this process ends. A database that another process has made
// meanwhile stays.
func create(dir, path string) (err error) {
	f, err := os.CreateTemp(dir, newPattern)
	if err != nil {
		return err
	}
	defer func() {
		if removed := os.Remove(f.Name()); !errors.Is(removed, fs.ErrNotExist) { // another process may have removed it
			err = errors.Join(err, removed)
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	db, err := bbolt.Open(f.Name(), fileMode, &bbolt.Options{Timeout: lockWait})
	if err != nil {
		return err
	}
	if err := errors.Join(db.Update(initialize), db.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		if _, there := os.Lstat(path); there != nil {
			return err
		}
	}
	return syncDir(dir)
}

// syncDir puts the names in dir on the disk: a file without a name is lost.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // a directory cannot be synced there, and need not be
	}
	d, err := os.Open(dir) //nolint:gosec // the directory that the user names
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// sweep removes the files of processes that ended while they made a database. A
// process that is still making one will find this database.
func sweep(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, newPattern)) // the next sweep tries again
	for _, path := range left {
		_ = os.Remove(path)
	}
}

// inspect refuses a file that bbolt would block on, or treat as a new one.
func inspect(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return fmt.Errorf("the database: %w", err)
	case !info.Mode().IsRegular():
		return fmt.Errorf("the database %s is not a file (mode %v): move it away, or use another directory", path, info.Mode())
	case info.Size() == 0:
		return &DamagedError{path, errors.New("the file is empty")}
	default:
		return nil
	}
}

// openFile opens an existing file. After an error it leaves nothing open, except
// the memory that bbolt had mapped before a panic: only bbolt could unmap that,
// and it keeps the lock.
func openFile(path string, options *bbolt.Options) (*bbolt.DB, error) {
	var file *os.File
	options.OpenFile = func(name string, flag int, mode os.FileMode) (f *os.File, err error) {
		file, err = os.OpenFile(name, flag&^os.O_CREATE, mode) //nolint:gosec // in the directory that the user names
		return file, err
	}
	var db *bbolt.DB
	var err error
	if damaged := guard(path, func() { db, err = bbolt.Open(path, fileMode, options) }); damaged != nil {
		if file != nil {
			_ = file.Close() // the file was only read
		}
		return nil, damaged
	}
	var system *fs.PathError
	switch {
	case err == nil:
		return db, nil
	case errors.Is(err, bolterrors.ErrTimeout), errors.As(err, &system):
		return nil, err
	default:
		return nil, &DamagedError{path, err}
	}
}

// remaining returns the time until deadline. It never returns 0, with which
// bbolt would wait forever.
func remaining(deadline time.Time) time.Duration {
	return max(time.Until(deadline), time.Millisecond)
}
