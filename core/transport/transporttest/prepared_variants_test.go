package transporttest

import (
	"context"
	"errors"
	"net"
	"os"

	"github.com/plugwire/plugwire/core/transport"
)

// preparedVariants are tested where a process inherits files.
var preparedVariants = map[string]variant{
	"it prepares no files": {"v1/PreparedFiles", "Prepare returns 0 files", func() transport.Transport {
		return preparing(func(p *transport.PreparedStart) error {
			err := p.Files[0].Close()
			p.Files = nil
			return err
		})
	}},
	"it keeps the plugin's end": {"v1/PreparedFiles", "after all files of Prepare were closed, the other end is still open", func() transport.Transport {
		return preparing(func(p *transport.PreparedStart) error {
			_, err := inherit(p.Files[0])
			return err
		})
	}},
	"its Dial fails in another way": {"v1/PreparedFiles", "Dial: no address, want errors.ErrUnsupported", func() transport.Transport {
		return &brokenPreparer{dial: func() (net.Conn, error) { return nil, errors.New("no address") }}
	}},
	"it needs no files": {"v1/PreparedRefusedFiles", "Listen with no files: no error", func() transport.Transport {
		return listening(func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			if len(cfg.Files) == 0 {
				return toy{}.Listen(ctx, cfg)
			}
			return preparedToy{}.Listen(ctx, cfg)
		})
	}},
	"it takes the first of its files": {"v1/PreparedRefusedFiles", "Listen with a file too many: no error", func() transport.Transport {
		return listening(func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			cfg.Files = cfg.Files[:min(1, len(cfg.Files))]
			return preparedToy{}.Listen(ctx, cfg)
		})
	}},
	"it leaves the files that it refuses": {"v1/PreparedRefusedFiles", "after Listen refused a file too many, the other end is still open", func() transport.Transport {
		return listening(func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			if len(cfg.Files) > 1 {
				return nil, errors.New("too many files")
			}
			return preparedToy{}.Listen(ctx, cfg)
		})
	}},
	"it leaves files of another kind": {"v1/PreparedRefusedFiles", "after Listen refused files of another kind, the other end is still open", func() transport.Transport {
		return listening(func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			if len(cfg.Files) == 1 {
				conn, err := net.FileConn(cfg.Files[0])
				if err != nil {
					return nil, err
				}
				conn.Close()
			}
			return preparedToy{}.Listen(ctx, cfg)
		})
	}},
	"it takes files in any version": {"v1/PreparedRefusedFiles", "Listen with version 0: no error", func() transport.Transport {
		return listening(func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			cfg.Version = 1
			return preparedToy{}.Listen(ctx, cfg)
		})
	}},
	"it takes files after its context": {"v1/PreparedRefusedFiles", "Listen with a context that has ended: no error", func() transport.Transport {
		return listening(func(_ context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			return preparedToy{}.Listen(context.Background(), cfg)
		})
	}},
	"it keeps the inherited file": {"v1/PreparedCloseGivesEOF", hangs, func() transport.Transport {
		return listening(func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			kept = append(kept, cfg.Files)
			files := make([]*os.File, len(cfg.Files))
			for i, file := range cfg.Files {
				var err error
				if files[i], err = inherit(file); err != nil {
					return nil, err
				}
			}
			cfg.Files = files
			return preparedToy{}.Listen(ctx, cfg)
		})
	}},
	// Either of the two calls of Accept may be reported first.
	"a second Accept does not wait": {"v1/PreparedOneConnection", "Accept gave use of closed network connection", func() transport.Transport {
		return wrapping(func(ln *oneListener) net.Listener {
			return &brokenListener{Listener: ln, accept: func() (net.Conn, error) {
				select {
				case conn := <-ln.conns:
					return conn, nil
				default:
					return nil, net.ErrClosed
				}
			}}
		})
	}},
	"its listener holds on to what was not accepted": {"v1/PreparedClosedUnused", "and nothing accepted, the other end is still open", func() transport.Transport {
		return wrapping(func(ln *oneListener) net.Listener {
			return &brokenListener{Listener: ln, close: func() error {
				ln.once.Do(func() {
					select {
					case conn := <-ln.conns:
						kept = append(kept, conn)
					default:
					}
					close(ln.conns)
				})
				return nil
			}}
		})
	}},
	"its listener takes the connection along": {"v1/PreparedListenerClose", "after Close of its listener", func() transport.Transport {
		return wrapping(func(ln *oneListener) net.Listener {
			conn := <-ln.conns
			ln.conns <- conn
			return &brokenListener{Listener: ln, close: func() error {
				conn.Close()
				return ln.Close()
			}}
		})
	}},
}

// kept has the files that variants forget to close. If they were unreachable,
// the garbage collector would close them.
var kept []any

// preparing is the prepared toy, with f changing what Prepare returns.
func preparing(f func(*transport.PreparedStart) error) *brokenPreparer {
	return &brokenPreparer{prepare: func() (*transport.PreparedStart, error) {
		p, err := preparedToy{}.Prepare(context.Background(), transport.PrepareConfig{Version: 1})
		if err == nil {
			err = f(p)
		}
		return p, err
	}}
}

// listening is the prepared toy with another Listen.
func listening(listen func(context.Context, transport.ListenConfig) (net.Listener, error)) *brokenPreparer {
	return &brokenPreparer{listen: listen}
}

// wrapping is the prepared toy, with its listener wrapped by f.
func wrapping(f func(*oneListener) net.Listener) *brokenPreparer {
	return listening(func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
		ln, err := preparedToy{}.Listen(ctx, cfg)
		if err != nil {
			return nil, err
		}
		return f(ln.(*oneListener)), nil
	})
}
