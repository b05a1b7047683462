package plugin

import (
	"errors"
	"os"

	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/self"
)

// inherited are the files that the host has passed on, by the transport that
// they are for.
type inherited map[string]inheritance

type inheritance struct {
	files []*os.File
	err   error // why there are not all of them
}

// inherit takes the files, which this process's own children then do not get. What is
// something else than the host has passed on is left alone.
func inherit(offer *negotiation.Offer) inherited {
	all := make(inherited, len(offer.Files))
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

// take returns the files for one transport, which the caller then owns.
func (i inherited) take(name string) ([]*os.File, error) {
	one := i[name]
	if one.err != nil {
		return nil, one.err // close closes the others
	}
	delete(i, name)
	return one.files, nil
}

// close closes what no transport has taken.
func (i inherited) close() {
	for name, one := range i {
		for _, f := range one.files {
			_ = f.Close() // nothing was written to it
		}
		delete(i, name)
	}
}
