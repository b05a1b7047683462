package files

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/streaming/internal/filelock"
)

// These bound the interrupted uploads, so that uploads which are never resumed
// do not fill the disk.
const (
	maxStagedAge   = 7 * 24 * time.Hour // long enough for a week of holidays
	maxStaged      = 32                 // more than a person keeps in mind
	maxStagedBytes = 16 << 30           // room for a few disk images
)

// The end of a name in the staging directory tells what the file is.
const (
	resumable = ".part" // data of an interrupted upload
	passing   = ".temp" // only the process that has locked it can use it
)

// lockPatience is how long an upload waits for the same upload to end. After a
// host was killed, its plugin keeps the lock for up to 2 s. A new upload cannot
// know whether the lock belongs to such a plugin.
const (
	lockPatience = 4 * time.Second
	lockInterval = 50 * time.Millisecond
)

// stagedName returns the name of the file that holds an upload until it is
// complete.
func stagedName(name, id string) string {
	if id == "" {
		return passingName()
	}
	sum := sha256.Sum256([]byte(id + "/" + name)) // an id has no slash
	return path.Join(stagingDir, hex.EncodeToString(sum[:])+resumable)
}

// passingName returns a new random name.
func passingName() string { return path.Join(stagingDir, rand.Text()+passing) }

// openStaged opens the file that holds an upload, and locks it, so that no
// other process uses or removes it until it is closed.
func (s *Store) openStaged(ctx context.Context, staged string) (*os.File, error) {
	deadline := time.Now().Add(lockPatience)
	for {
		file, err := s.tryStaged(staged)
		switch {
		case err == nil:
			return file, nil
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile, perhaps with its directory
		case !errors.Is(err, filelock.ErrLocked):
			return nil, s.status(staged, err)
		}
		if time.Now().After(deadline) {
			return nil, status.Errorf(codes.FailedPrecondition, "the same upload is under way, still after %v: try again when it has ended", lockPatience)
		}
		select {
		case <-ctx.Done():
			return nil, s.status(staged, ctx.Err())
		case <-time.After(lockInterval):
		}
	}
}

// tryStaged is openStaged without its patience.
func (s *Store) tryStaged(staged string) (*os.File, error) {
	if err := s.root.Mkdir(stagingDir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	file, err := s.root.OpenFile(staged, os.O_RDWR|os.O_CREATE|nonblock, 0o600)
	if err != nil {
		return nil, err
	}
	if err := s.lockAs(file, staged); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// lockAs locks a file and checks that it still has that name.
func (s *Store) lockAs(file *os.File, staged string) error {
	if err := filelock.Lock(file); err != nil {
		return err
	}
	held, err := file.Stat()
	if err != nil {
		return err
	}
	there, err := s.root.Lstat(staged)
	if err != nil {
		return err
	}
	if !os.SameFile(held, there) {
		return fs.ErrNotExist
	}
	return nil
}

// sweep removes uploads beyond the bounds, the oldest first, and those that
// cannot be resumed. It leaves files that are in use, and those that the plugin
// may not remove, because they belong to another user or the file system is
// read-only: downloads do not need their removal.
func (s *Store) sweep() error {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	dir, err := s.root.OpenFile(stagingDir, os.O_RDONLY|nonblock, 0)
	if errors.Is(err, fs.ErrNotExist) || forbidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1) // kept are as many as the bounds allow, and those in use
	if err := errors.Join(err, dir.Close()); err != nil {
		return err
	}
	var infos []fs.FileInfo
	for _, entry := range entries {
		info, err := entry.Info()
		if err == nil && info.Mode().IsRegular() { // otherwise the file has just been removed
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return cmp.Compare(b.ModTime().UnixNano(), a.ModTime().UnixNano()) })
	var kept int
	var bytes int64
	for _, info := range infos {
		mine := strings.HasSuffix(info.Name(), resumable)
		bytes += info.Size()
		if mine && kept < maxStaged && bytes <= maxStagedBytes && time.Since(info.ModTime()) < maxStagedAge {
			kept++
			continue
		}
		bytes -= info.Size()
		if mine || strings.HasSuffix(info.Name(), passing) {
			if err := s.removeUnused(path.Join(stagingDir, info.Name())); err != nil {
				return err
			}
		}
	}
	s.removeStagingDir()
	return nil
}

// removeStagingDir removes the staging directory if it is empty.
func (s *Store) removeStagingDir() { _ = s.root.Remove(stagingDir) }

// removeUnused removes a file of the staging directory unless it is in use.
func (s *Store) removeUnused(staged string) error {
	file, err := s.root.OpenFile(staged, os.O_RDWR|nonblock, 0)
	if errors.Is(err, fs.ErrNotExist) || forbidden(err) {
		return nil
	}
	if err != nil {
		return err
	}
	err = s.lockAs(file, staged)
	if err == nil {
		err = s.root.Remove(staged)
	}
	if errors.Is(err, filelock.ErrLocked) || errors.Is(err, fs.ErrNotExist) || forbidden(err) {
		err = nil
	}
	return errors.Join(err, file.Close())
}
