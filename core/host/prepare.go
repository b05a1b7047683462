package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/plugwire/plugwire/core/transport"
)

// prepared are the connections that were made before the process, by the name of
// their transport.
type prepared map[string]*transport.Prepared

// prepare makes the connections of the transports that have theirs before the
// process starts. A transport that cannot is not offered; nor is one where the
// process is not of this machine.
func (l *launch) prepare(ctx context.Context) error {
	l.prepared = make(prepared)
	var offered transport.Set
	for _, t := range l.transports {
		if err := l.prepareOne(ctx, t); err != nil {
			l.unprepared = append(l.unprepared, fmt.Sprintf("%s: %v", t.Name(), err))
			continue
		}
		offered = append(offered, t)
	}
	if len(offered) == 0 {
		return errors.New("no transport could be prepared: " + strings.Join(l.unprepared, "; "))
	}
	l.transports = offered
	return nil
}

var errNotLocal = errors.New("its connection is inherited by a process of this machine, and this runner starts none")

func (l *launch) prepareOne(ctx context.Context, t transport.Transport) error {
	preparer, ok := t.(transport.Preparer)
	if !ok {
		return nil
	}
	if l.runner != (localRunner{}) {
		return errNotLocal
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

func closePrepared(p *transport.Prepared) error {
	return errors.Join(closeFiles(p.Files), p.Conn.Close())
}

func closeFiles(files []*os.File) error {
	var errs []error
	for _, f := range files {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}
