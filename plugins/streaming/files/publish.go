package files

import (
	"errors"
	"os"
	"path"
)

// errNoLinks means that a file cannot get its name without the risk of
// replacing another.
var errNoLinks = errors.New("the file system has no hard links")

// publish gives the file its name.
func (u *Upload) publish() error {
	root := u.store.root
	if err := root.MkdirAll(path.Dir(u.name), 0o755); err != nil {
		return err
	}
	if u.spec.Overwrite {
		return root.Rename(u.staged, u.name)
	}
	// A link fails if the name exists. First the file gets a name that no upload
	// resumes: if this process were killed while both names exist, a resumed
	// upload would write into the published file.
	temp := passingName()
	if err := root.Rename(u.staged, temp); err != nil {
		return err
	}
	u.staged = temp
	err := root.Link(u.staged, u.name)
	switch {
	case lacksLinks(err):
		return renameNew(root, u.staged, u.name)
	case err != nil:
		return err
	}
	_ = root.Remove(u.staged) // the file is published; a sweep removes the other name later
	return nil
}

// renameNew gives a file a name that must not exist, for file systems without
// links, if the system has a call for it.
func renameNew(root *os.Root, from, to string) error {
	fromDir, err := root.Open(path.Dir(from))
	if err != nil {
		return err
	}
	defer func() { _ = fromDir.Close() }() // the directory was only opened
	toDir, err := root.Open(path.Dir(to))
	if err != nil {
		return err
	}
	defer func() { _ = toDir.Close() }()
	err = renameExclusive(int(fromDir.Fd()), path.Base(from), int(toDir.Fd()), path.Base(to))
	if errors.Is(err, errors.ErrUnsupported) {
		return errNoLinks
	}
	return err
}

// syncDirs writes the names on the file's path to the disk.
func (u *Upload) syncDirs() error {
	for name := u.name; name != "."; name = path.Dir(name) {
		if err := syncDir(u.store.root, path.Dir(name)); err != nil {
			return err
		}
	}
	return nil
}
