package host

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"github.com/plugwire/plugwire/core/internal/leash"
	"github.com/plugwire/plugwire/core/internal/negotiation"
	"github.com/plugwire/plugwire/core/internal/self"
)

// bond binds a plugin's life to this host's. A nil bond binds nothing.
type bond struct {
	lifeline *os.File     // the writing end, which no other process has
	theirs   *os.File     // the plugin's end
	leash    *leash.Leash // nil if the system has none
}

// bind makes the bond of a process that is about to start, and offers it to the plugin.
func (l *launch) bind(cmd *exec.Cmd) (*bond, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("lifeline: %w", err)
	}
	b := &bond{lifeline: w, theirs: r}
	l.offer.HostPID = os.Getpid()
	l.offer.Lifeline = l.inherit(cmd, r)
	if b.leash, err = leash.New(); err == nil {
		l.offer.Leash = l.inherit(cmd, b.leash.File())
	} else if !errors.Is(err, errors.ErrUnsupported) {
		l.logger.Debug("what the plugin starts outlives it and its host if both die at once", "plugin", l.command, "error", err)
	}
	return b, nil
}

// closeTheirs closes the plugin's ends, once the process has inherited them.
func (b *bond) closeTheirs() {
	_ = b.theirs.Close() // nothing was written to it
	b.leash.Inherited()
}

// release ends the bond when the process is gone.
func (b *bond) release() {
	if b != nil {
		_ = b.lifeline.Close() // nothing was written to it
		b.leash.Close()
	}
}

// firstExtraFile is the descriptor of the first file in [exec.Cmd.ExtraFiles].
const firstExtraFile = 3

// inherit adds a file to those that the process inherits, and returns its number there.
// The offer identifies the file.
func (l *launch) inherit(cmd *exec.Cmd, f *os.File) int {
	cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	fd := firstExtraFile + len(cmd.ExtraFiles) - 1
	if id, err := self.Identify(f); err == nil { // else the plugin cannot check it
		l.offer.Identities[fd] = negotiation.FileID(id)
	}
	return fd
}
