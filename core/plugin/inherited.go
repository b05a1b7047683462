package plugin

import (
	"errors"
	"os"

	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/self"
)

// inheritedFiles are the files that the host has passed on, by the name of their transport.
type inheritedFiles map[string]inheritance

type inheritance struct {
	files []*os.File
	err   error // why some of the files are missing
}

// inherit takes the files, and keeps them from the children of this process. It does not
// touch a descriptor that is open on another file than the host passed on.
func inherit(offer *negotiation.Offer) inheritedFiles {
	all := make(inheritedFiles, len(offer.Files))
	for name, list := range offer.Files {
		var one inheritance
		for _, fd := range list {
			f, err := descriptor(offer, fd).Inherit()
			if err != nil {
				one.err = errors.Join(one.err, err)
				continue
			}
			one.files = append(one.files, f)
		}
		all[name] = one
	}
	return all
}

func descriptor(offer *negotiation.Offer, fd int) self.Descriptor {
	return self.Descriptor{FD: fd, ID: self.FileID(offer.Identities[fd])}
}

// take returns the files of a transport. The caller owns them.
func (i inheritedFiles) take(name string) ([]*os.File, error) {
	one := i[name]
	if one.err != nil {
		return nil, one.err // close closes the files that are there
	}
	delete(i, name)
	return one.files, nil
}

// close closes the files that no transport has taken.
func (i inheritedFiles) close() {
	for name, one := range i {
		for _, f := range one.files {
			_ = f.Close() // nothing was written to it
		}
		delete(i, name)
	}
}
