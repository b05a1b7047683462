package plugin

import (
	"fmt"
	"os"

	"github.com/plugwire/plugwire/core/internal/process"
)

// inherited are the files that the host has passed on, by the transport that
// they are for.
type inherited map[string][]*os.File

// inherit takes the files, which this process's own children then do not get.
func inherit(descriptors map[string][]int) (inherited, error) {
	files := make(inherited, len(descriptors))
	for name, list := range descriptors {
		for _, fd := range list {
			f, err := process.Inherited(fd)
			if err != nil {
				files.close()
				return nil, fmt.Errorf("file of transport %s: %w", name, err)
			}
			files[name] = append(files[name], f)
		}
	}
	return files, nil
}

// take returns the files for one transport, which the caller then owns.
func (i inherited) take(name string) []*os.File {
	files := i[name]
	delete(i, name)
	return files
}

// close closes what no transport has taken.
func (i inherited) close() {
	for _, files := range i {
		for _, f := range files {
			_ = f.Close() // nothing was written to it
		}
	}
}
