package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io/fs"
	"os"
	"path"
	"regexp"
	"syscall"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/streaming/internal/filehash"
	"github.com/plugwire/plugwire/plugins/streaming/internal/refuse"
)

// validID matches the id of an upload.
var validID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// An UploadSpec says what is uploaded.
type UploadSpec struct {
	Path      string
	Overwrite bool   // replace an existing file
	Size      int64  // size of the whole file; 0 if it is not known
	ID        string // id to resume the upload; empty if it cannot be resumed
	Offset    int64  // where the upload continues; 0 for a new one
	Prefix    []byte // checksum of the bytes before Offset
}

// An Upload receives a file, which is not visible before Commit. It is not safe
// for concurrent use.
type Upload struct {
	store  *Store
	spec   UploadSpec
	name   string   // name of the final file
	staged string   // name of the file that holds the data until then
	file   *os.File // locked; nil when the upload has ended
	offset int64
	sum    hash.Hash
}

// Upload begins an upload, or continues an interrupted one. The context bounds
// this call. The caller ends the upload by Commit, Interrupt or Discard.
func (s *Store) Upload(ctx context.Context, spec UploadSpec) (*Upload, error) {
	name, err := s.checkSpec(spec)
	if err != nil {
		return nil, err
	}
	if err := s.checkTarget(name, spec.Overwrite); err != nil {
		return nil, err
	}
	u := &Upload{store: s, spec: spec, name: name, staged: stagedName(name, spec.ID)}
	if u.file, err = s.openStaged(ctx, u.staged); err != nil {
		return nil, err
	}
	if err := u.begin(ctx); err != nil {
		return nil, err
	}
	return u, nil
}

// Received returns how many bytes of an interrupted upload are stored, or 0.
func (s *Store) Received(filePath, id string) (int64, error) {
	name, err := s.clean(filePath)
	if err != nil {
		return 0, err
	}
	if err := checkID("upload_id", id); err != nil {
		return 0, err
	}
	info, err := s.root.Lstat(stagedName(name, id))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return 0, nil
	case err != nil:
		return 0, s.status(name, err)
	}
	return info.Size(), nil
}

func checkID(field, id string) error {
	if !validID.MatchString(id) {
		return refuse.Invalid(field, "%s %s is not 1 to 64 of A-Z, a-z, 0-9, _ and -", field, quote(id))
	}
	return nil
}

// checkSpec returns the name of the file.
func (s *Store) checkSpec(spec UploadSpec) (string, error) {
	name, err := s.clean(spec.Path)
	if err != nil {
		return "", err
	}
	if err := checkPrefix("offset", "upload.prefix_sha256", spec.Offset, spec.Prefix); err != nil {
		return "", err
	}
	switch {
	case spec.ID != "":
		if err := checkID("upload.upload_id", spec.ID); err != nil {
			return "", err
		}
	case spec.Offset > 0:
		return "", refuse.Invalid("upload.upload_id", "an upload that begins at offset %d needs its upload_id", spec.Offset)
	}
	switch {
	case spec.Size < 0:
		return "", refuse.Invalid("upload.total_bytes", "total_bytes must not be negative, and is %d", spec.Size)
	case max(spec.Size, spec.Offset) > s.maxSize:
		return "", s.tooLarge(name)
	}
	return name, nil
}

func (s *Store) tooLarge(name string) error {
	return status.Errorf(codes.ResourceExhausted, "%s is larger than %d bytes, the limit of the plugin", quote(name), s.maxSize)
}

// checkTarget returns early the error that Commit would return.
func (s *Store) checkTarget(name string, overwrite bool) error {
	parent, err := s.root.Stat(path.Dir(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // Commit makes the directory
	case err == nil && !parent.IsDir(), errors.Is(err, syscall.ENOTDIR):
		return status.Errorf(codes.FailedPrecondition, "%s is not a directory", quote(path.Dir(name)))
	case err != nil:
		return s.status(name, err)
	}
	info, err := s.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return s.status(name, err)
	case info.Mode()&fs.ModeSymlink != 0:
	default:
		if err := notRegular(name, info); err != nil {
			return err
		}
	}
	if !overwrite {
		return exists(quote(name))
	}
	return nil
}

// begin moves to the offset and drops everything after it. After an error the
// upload has ended.
func (u *Upload) begin(ctx context.Context) error {
	info, err := u.file.Stat()
	if err != nil {
		return u.fail(err)
	}
	u.offset = info.Size()
	if info.Size() < u.spec.Offset {
		return u.refused(status.Errorf(codes.Aborted, "the plugin has %d bytes of this upload and cannot continue at %d: begin again", info.Size(), u.spec.Offset))
	}
	if u.sum, err = filehash.Prefix(ctx, u.file, u.spec.Offset); err != nil {
		if ctx.Err() == nil {
			return u.fail(err)
		}
		if err := u.Interrupt(); err != nil {
			return u.store.status(u.name, err)
		}
		return u.store.status(u.name, err)
	}
	if u.spec.Offset > 0 && !bytes.Equal(u.sum.Sum(nil), u.spec.Prefix) {
		return u.refused(status.Errorf(codes.Aborted, "the plugin's data of this upload is not the beginning of this file: begin again"))
	}
	if err := u.file.Truncate(u.spec.Offset); err != nil {
		return u.fail(err)
	}
	u.offset = u.spec.Offset
	return nil
}

// Write adds data to the file. After an error the upload has ended and its data
// is removed.
func (u *Upload) Write(data []byte) error {
	if int64(len(data)) > u.store.maxSize-u.offset {
		return u.refused(u.store.tooLarge(u.name))
	}
	if u.spec.Size > 0 && int64(len(data)) > u.spec.Size-u.offset {
		return u.refused(refuse.Invalid("data", "the file has more than its %d bytes", u.spec.Size))
	}
	if _, err := u.file.Write(data); err != nil {
		return u.fail(err)
	}
	u.sum.Write(data)
	u.offset += int64(len(data))
	return nil
}

// Offset returns how many bytes of the file are stored.
func (u *Upload) Offset() int64 { return u.offset }

// Path returns the name of the final file.
func (u *Upload) Path() string { return u.name }

// Commit makes the file visible if its checksum is sum. The upload has ended
// then. After an error its data is removed, with two exceptions. Directories on
// the file's path may have been made. If writing the file's name to the disk
// failed, the file is visible but may be lost in a power failure.
func (u *Upload) Commit(sum []byte) error {
	switch {
	case u.spec.Size > 0 && u.offset != u.spec.Size:
		return u.refused(refuse.Invalid("upload.total_bytes", "the file has %d bytes, total_bytes says %d", u.offset, u.spec.Size))
	case len(sum) != sha256.Size:
		return u.refused(refuse.Invalid("sha256", "sha256 has %d bytes, in the last chunk it must have %d", len(sum), sha256.Size))
	case !bytes.Equal(u.sum.Sum(nil), sum):
		return u.refused(status.Errorf(codes.DataLoss, "the received data for %s does not have the sent checksum", quote(u.name)))
	}
	if err := u.file.Sync(); err != nil {
		return u.fail(err)
	}
	if err := u.publish(); err != nil {
		// Another file may have got the name since the upload began.
		if reason := u.store.checkTarget(u.name, u.spec.Overwrite); reason != nil {
			return u.refused(reason)
		}
		return u.fail(err)
	}
	if err := u.end(); err != nil {
		return u.store.status(u.name, err)
	}
	return u.store.status(u.name, u.syncDirs())
}

// Interrupt ends an upload whose sender has gone. The data is kept, within the
// bounds, if the upload can be resumed.
func (u *Upload) Interrupt() error {
	if u.spec.ID == "" || u.offset == 0 {
		return u.Discard()
	}
	if u.file == nil {
		return nil
	}
	return errors.Join(u.end(), u.store.sweep())
}

// Discard ends an upload and removes its data. It does nothing after the upload
// has ended.
func (u *Upload) Discard() error {
	if u.file == nil {
		return nil
	}
	return errors.Join(u.store.root.Remove(u.staged), u.end())
}

// end closes the file, and so releases its lock.
func (u *Upload) end() error {
	file := u.file
	u.file = nil
	err := file.Close()
	u.store.removeStagingDir()
	return err
}

// fail ends the upload after an error of the system.
func (u *Upload) fail(err error) error { return u.refused(u.store.status(u.name, err)) }

// refused ends the upload for a reason, and returns the reason.
func (u *Upload) refused(reason error) error {
	if err := u.Discard(); err != nil {
		return status.Errorf(status.Code(reason), "%s; and the received data could not be removed: %v", status.Convert(reason).Message(), err)
	}
	return reason
}
