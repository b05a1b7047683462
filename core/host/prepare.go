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

// preparedConns are the connections that were made before the process, by the name of
// their transport.
type preparedConns map[string]*transport.PreparedStart

// prepare makes the private directory, and the connections of the transports that make
// theirs before the process starts. A transport that cannot be prepared is not offered.
func (l *launch) prepare(ctx context.Context, cmd *exec.Cmd) error {
	noDir := l.makePrivate(cmd)
	l.prepared = make(preparedConns)
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

// makePrivate makes the private directory. An error counts only for the transports that
// use it. A plugin may also use the directory for other things, so it is made whenever
// that is possible.
func (l *launch) makePrivate(cmd *exec.Cmd) error {
	if !privdir.Supported {
		return nil
	}
	dir, err := privdir.NewIn(l.tempDir, l.directoryUser(cmd))
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

// take returns the host's end of a connection, which the caller then owns. It is nil
// for a transport without one.
func (p preparedConns) take(name string) net.Conn {
	one := p[name]
	if one == nil {
		return nil
	}
	delete(p, name)
	return one.Conn
}

// closeFiles closes the plugin's ends, once the process has inherited them.
func (p preparedConns) closeFiles() error {
	var errs []error
	for _, one := range p {
		errs = append(errs, closeFiles(one.Files))
		one.Files = nil
	}
	return errors.Join(errs...)
}

// close closes the connections that were not taken.
func (p preparedConns) close() {
	for _, one := range p {
		_ = closePrepared(one) // nothing was written to it
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
