package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"

	"github.com/plugwire/plugwire/core/internal/privdir"
	"github.com/plugwire/plugwire/core/transport"
)

// prepared are the connections that were made before the process, by the name of
// their transport.
type prepared map[string]*transport.PreparedStart

// prepare makes the private directory, and the connections of the transports that have
// theirs before the process starts. A transport that cannot be prepared is not offered.
func (l *launch) prepare(ctx context.Context, cmd *exec.Cmd) error {
	noDir := l.makePrivate(cmd)
	l.prepared = make(prepared)
	var offered transport.Set
	for _, t := range l.transports {
		var err error
		if d, ok := t.(transport.DirUser); ok && d.UsesDir() {
			err = noDir
		}
		if err == nil {
			err = l.prepareOne(ctx, t)
		}
		if err != nil {
			l.unprepared = appendError(l.unprepared, fmt.Errorf("%s: %w", t.Name(), err))
			continue
		}
		offered = append(offered, t)
	}
	if len(offered) == 0 {
		return fmt.Errorf("no transport could be prepared: %w", l.unprepared)
	}
	l.transports = offered
	return nil
}

// makePrivate makes the private directory. It is an error only for the transports that
// use it. A plugin that is told of none may still use it for other things, so it is
// made whenever that is possible.
func (l *launch) makePrivate(cmd *exec.Cmd) error {
	if !privdir.Supported {
		return nil
	}
	dir, err := privdir.New(l.directoryUser(cmd))
	if err != nil {
		return err
	}
	if err := transport.CheckAddress(dir.Path()); err != nil {
		return errors.Join(fmt.Errorf("%w: %w", privdir.ErrDir, err), dir.Close())
	}
	l.private = dir
	return nil
}

// appendError joins two errors on one line.
func appendError(err, next error) error {
	if err == nil {
		return next
	}
	return fmt.Errorf("%w; %w", err, next)
}

var errNoFiles = errors.New("its plugin inherits the connection, and the runner passes no files on (host.FilePasser)")

func (l *launch) prepareOne(ctx context.Context, t transport.Transport) error {
	preparer, ok := t.(transport.Preparer)
	if !ok {
		return nil
	}
	if !passesFiles(l.runner) {
		return errNoFiles
	}
	p, err := preparer.Prepare(ctx, transport.PrepareConfig{Version: transport.Set{t}.IDs()[0].Version})
	if err != nil {
		return err
	}
	if p == nil || p.Conn == nil {
		return errors.New("it has prepared no connection")
	}
	if len(p.Files) > transport.MaxFiles {
		return errors.Join(fmt.Errorf("%d files, at most %d are allowed", len(p.Files), transport.MaxFiles), closePrepared(p))
	}
	l.prepared[t.Name()] = p
	return nil
}

// take returns the host's end of a connection, which the caller then owns; nil
// for a transport without one.
func (p prepared) take(name string) net.Conn {
	one := p[name]
	if one == nil {
		return nil
	}
	delete(p, name)
	return one.Conn
}

// closeFiles closes the plugin's ends, once the process has them.
func (p prepared) closeFiles() error {
	var errs []error
	for _, one := range p {
		errs = append(errs, closeFiles(one.Files))
		one.Files = nil
	}
	return errors.Join(errs...)
}

// close closes what was not taken.
func (p prepared) close() {
	for _, one := range p {
		_ = closePrepared(one) // nothing was said on it
	}
}

func closePrepared(p *transport.PreparedStart) error {
	return errors.Join(closeFiles(p.Files), p.Conn.Close())
}

func closeFiles(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
