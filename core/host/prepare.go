package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/plugwire/plugwire/core/transport"
)

// prepared are the connections that were made before the process, by the name of
// their transport.
type prepared map[string]*transport.Prepared

// prepare makes the connections of the transports that have theirs before the
// process starts. Where the process is not one of this machine there can be
// none, and those transports are not offered.
func (l *launch) prepare(ctx context.Context) (prepared, error) {
	made := make(prepared)
	var offered transport.Set
	for _, t := range l.transports {
		preparer, ok := t.(transport.Preparer)
		switch {
		case !ok:
			offered = append(offered, t)
		case l.runner == localRunner{}:
			p, err := preparer.Prepare(ctx, transport.PrepareConfig{Version: transport.Set{t}.IDs()[0].Version})
			if err == nil && len(p.Files) > transport.MaxFiles {
				err = errors.Join(fmt.Errorf("%d files, at most %d are allowed", len(p.Files), transport.MaxFiles), closePrepared(p))
			}
			if err != nil {
				made.close()
				return nil, fmt.Errorf("prepare transport %s: %w", t.Name(), err)
			}
			made[t.Name()] = p
			offered = append(offered, t)
		}
	}
	if len(offered) == 0 {
		return nil, errors.New("no transport given that works with this runner: the connection of each is inherited by a process of this machine")
	}
	l.transports = offered
	return made, nil
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
