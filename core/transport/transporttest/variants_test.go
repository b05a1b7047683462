package transporttest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/plugwire/plugwire/core/transport"
)

// hangs is the text of a check that never ends.
const hangs = "the check has not ended"

// variant is a broken transport, the check that must find it, and a part of
// that check's text. Other checks may find it too.
type variant struct {
	check, says string
	transport   func() transport.Transport
}

// variants are broken toys, by a few words that describe the defect.
func variants() map[string]variant {
	all := make(map[string]variant)
	for _, some := range []map[string]variant{toyVariants, nativeVariants, preparedVariants} {
		maps.Copy(all, some)
	}
	return all
}

var toyVariants = map[string]variant{
	"its name is not valid": {"Identity", `name "Toy 1"`, func() transport.Transport {
		return &broken{name: "Toy 1"}
	}},
	"it has no versions": {"Identity", "versions []", func() transport.Transport {
		return &broken{versions: []int{}}
	}},
	"it is both native and prepared": {"Identity", "it is both", func() transport.Transport {
		return undecidedToy{}
	}},
	"it leaves a goroutine": {"v1/Echo", "found unexpected goroutines", func() transport.Transport {
		return &broken{listener: func(ln net.Listener) net.Listener {
			go func() { select {} }()
			return ln
		}}
	}},
	"it accepts after the first byte only": {"v1/Echo", hangs, func() transport.Transport {
		return &broken{listener: acceptingAfterByte}
	}},
	"its address cannot be sent": {"v1/Address", "holds '|'", func() transport.Transport {
		return &broken{
			listener: func(ln net.Listener) net.Listener {
				return &brokenListener{Listener: ln, address: func() string { return ln.Addr().String() + "|" }}
			},
			dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
				cfg.Address = strings.TrimSuffix(cfg.Address, "|")
				return toy{}.Dial(ctx, cfg)
			},
		}
	}},
	"its address means something in one process only": {"v1/Address", "this value has no listener", func() transport.Transport {
		listening := false
		return &broken{
			listener: func(ln net.Listener) net.Listener { listening = true; return ln },
			dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
				if !listening {
					return nil, errors.New("this value has no listener")
				}
				return toy{}.Dial(ctx, cfg)
			},
		}
	}},
	"all its listeners are one": {"v1/Listeners", "two listeners have the address", func() transport.Transport {
		one := sync.OnceValues(func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") })
		return &broken{listen: func(context.Context, transport.ListenConfig) (net.Listener, error) { return one() }}
	}},
	"it listens once": {"v1/Reopen", "address in use", func() transport.Transport {
		var listened atomic.Bool
		return &broken{listen: func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			if listened.Swap(true) {
				return nil, errors.New("address in use")
			}
			return toy{}.Listen(ctx, cfg)
		}}
	}},
	"it leaves a file in the directory": {"v1/Directory", "left behind", func() transport.Transport {
		return withFile(func(dir string) string { return dir })
	}},
	"it leaves a file in a directory of its own": {"v1/Directory", "left behind", func() transport.Transport {
		return withFile(func(dir string) string {
			if dir == "" {
				return os.TempDir()
			}
			return ""
		})
	}},
	"it does not use the directory": {"v1/Directory", "left behind", func() transport.Transport {
		return withFile(func(string) string { return os.TempDir() })
	}},
	"it needs a directory": {"v1/Directory", "listen: no directory", func() transport.Transport {
		return &broken{listen: func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			if cfg.Dir == "" {
				return nil, errors.New("no directory")
			}
			return toy{}.Listen(ctx, cfg)
		}}
	}},
	"it ignores the range of ports": {"v1/Ports", "Listen with the ports", func() transport.Transport {
		return &broken{listen: func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			cfg.MinPort, cfg.MaxPort = 0, 0
			return toy{}.Listen(ctx, cfg)
		}}
	}},
	"it leaves the range of ports when that is taken": {"v1/Ports", "Listen when the only port is taken: no error", func() transport.Transport {
		return &broken{listen: func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			ln, err := toy{}.Listen(ctx, cfg)
			if err == nil {
				return ln, nil
			}
			cfg.MinPort, cfg.MaxPort = 0, 0
			return toy{}.Listen(ctx, cfg)
		}}
	}},
	"it listens in any version": {"v1/UnknownVersion", "Listen with version 0: no error", func() transport.Transport {
		return &broken{listen: func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			cfg.Version = 1
			return toy{}.Listen(ctx, cfg)
		}}
	}},
	"it dials in any version": {"v1/UnknownVersion", "Dial with version 0: no error", func() transport.Transport {
		return &broken{dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
			cfg.Version = 1
			return toy{}.Dial(ctx, cfg)
		}}
	}},
	"it reads an address up to the first NUL": {"v1/GarbageAddress", `\x00"): no error`, func() transport.Transport {
		return &broken{dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
			cfg.Address, _, _ = strings.Cut(cfg.Address, "\x00")
			return toy{}.Dial(ctx, cfg)
		}}
	}},
	"its error repeats a long address": {"v1/GarbageAddress", "bytes long, at most 8192", func() transport.Transport {
		return &broken{dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
			conn, err := toy{}.Dial(ctx, cfg)
			if err != nil {
				return nil, fmt.Errorf("dial %q: %w", cfg.Address, err)
			}
			return conn, nil
		}}
	}},
	"its error does not name the address": {"v1/NobodyListening", "does not name the address", func() transport.Transport {
		return &broken{dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
			conn, err := toy{}.Dial(ctx, cfg)
			if err != nil {
				return nil, errors.New("connection refused")
			}
			return conn, nil
		}}
	}},
	"it waits for a listener without a bound": {"v1/NobodyListening", hangs, func() transport.Transport {
		return &broken{dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
			conn, err := toy{}.Dial(ctx, cfg)
			if err != nil {
				select {}
			}
			return conn, nil
		}}
	}},
	"Listen ignores its context": {"v1/ContextEndedBefore", "Listen: error <nil>, want context canceled", func() transport.Transport {
		return &broken{listen: func(_ context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			return toy{}.Listen(context.Background(), cfg)
		}}
	}},
	"Dial ignores its context": {"v1/ContextEndedBefore", "Dial: error <nil>, want context canceled", func() transport.Transport {
		return &broken{dial: func(_ context.Context, cfg transport.DialConfig) (net.Conn, error) {
			return toy{}.Dial(context.Background(), cfg)
		}}
	}},
	"the context of Listen closes the listener": {"v1/ContextEndsAfter", "connection refused", func() transport.Transport {
		return &broken{listen: func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			ln, err := toy{}.Listen(ctx, cfg)
			if err == nil {
				context.AfterFunc(ctx, func() { ln.Close() })
			}
			return ln, err
		}}
	}},
	"the context of Dial closes the connection": {"v1/ContextEndsAfter", "after the context of Dial has ended", func() transport.Transport {
		return &broken{dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
			conn, err := toy{}.Dial(ctx, cfg)
			if err == nil {
				context.AfterFunc(ctx, func() { conn.Close() })
			}
			return conn, err
		}}
	}},
	"the deadline of Dial stays on the connection": {"v1/ContextEndsAfter", "after the context of Dial has ended", func() transport.Transport {
		return &broken{dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
			conn, err := toy{}.Dial(ctx, cfg)
			if deadline, ok := ctx.Deadline(); ok && err == nil {
				err = conn.SetDeadline(deadline)
			}
			return conn, err
		}}
	}},
	"Close of the listener does not unblock Accept": {"v1/ListenerClose", hangs, func() transport.Transport {
		return &broken{listener: func(ln net.Listener) net.Listener {
			return &brokenListener{Listener: ln, close: func() error { return nil }}
		}}
	}},
	"Accept ends with an error of its own": {"v1/ListenerClose", "no more connections, want net.ErrClosed", func() transport.Transport {
		return &broken{listener: func(ln net.Listener) net.Listener {
			return &brokenListener{Listener: ln, accept: func() (net.Conn, error) {
				conn, err := ln.Accept()
				if err != nil {
					return nil, errors.New("no more connections")
				}
				return conn, nil
			}}
		}}
	}},
	"a second Close of the listener fails": {"v1/ListenerClose", "second Close: closed twice", func() transport.Transport {
		return &broken{listener: func(ln net.Listener) net.Listener {
			return &brokenListener{Listener: ln, close: failingTwice(ln.Close)}
		}}
	}},
	"accepted connections end with the listener": {"v1/ListenerClose", "after Close of its listener", func() transport.Transport {
		return &broken{listener: func(ln net.Listener) net.Listener {
			var accepted []net.Conn
			return &brokenListener{
				Listener: ln,
				accept: func() (net.Conn, error) {
					conn, err := ln.Accept()
					if err == nil {
						accepted = append(accepted, conn)
					}
					return conn, err
				},
				close: func() error {
					err := ln.Close()
					for _, conn := range accepted {
						conn.Close()
					}
					return err
				},
			}
		}}
	}},
	"Close throws away what was written": {"v1/CloseGivesEOF", "connection reset by peer", func() transport.Transport {
		return withConn(func(conn *brokenConn) {
			conn.close = func() error {
				return errors.Join(conn.Conn.(*net.TCPConn).SetLinger(0), conn.Conn.Close())
			}
		})
	}},
	"a closed connection ends with an error of its own": {"v1/CloseGivesEOF", "want io.EOF", func() transport.Transport {
		return withConn(func(conn *brokenConn) {
			conn.read = func(p []byte) (int, error) {
				n, err := conn.Conn.Read(p)
				if errors.Is(err, io.EOF) {
					err = io.ErrUnexpectedEOF
				}
				return n, err
			}
		})
	}},
	"Close does not unblock": {"v1/CloseUnblocks", hangs, func() transport.Transport {
		return withConn(func(conn *brokenConn) {
			conn.close = func() error { return nil }
		})
	}},
	"Close unblocks with an error of its own": {"v1/CloseUnblocks", "Read while the connection is closed: io: read/write on closed pipe", func() transport.Transport {
		return withConn(func(conn *brokenConn) {
			conn.read = func(p []byte) (int, error) {
				n, err := conn.Conn.Read(p)
				if errors.Is(err, net.ErrClosed) {
					err = io.ErrClosedPipe
				}
				return n, err
			}
		})
	}},
	"a second Close fails": {"v1/CloseTwice", "second Close: closed twice", func() transport.Transport {
		return withConn(func(conn *brokenConn) { conn.close = failingTwice(conn.Conn.Close) })
	}},
	"Write does not say that the peer is gone": {"v1/PeerClosed", "to an end that is closed", func() transport.Transport {
		return withConn(func(conn *brokenConn) {
			conn.write = func(p []byte) (int, error) {
				_, _ = conn.Conn.Write(p)
				return len(p), nil
			}
		})
	}},
	"CloseWrite closes both ways": {"v1/HalfClose", "the other way, after CloseWrite", func() transport.Transport {
		return withConn(func(conn *brokenConn) { conn.closeWrite = conn.Conn.Close })
	}},
	"CloseWrite does nothing": {"v1/HalfClose", hangs, func() transport.Transport {
		return withConn(func(conn *brokenConn) { conn.closeWrite = func() error { return nil } })
	}},
	"a deadline has an error of its own": {"v1/Deadlines", "Read after its deadline: context deadline exceeded", func() transport.Transport {
		return withConn(func(conn *brokenConn) {
			conn.read = func(p []byte) (int, error) {
				n, err := conn.Conn.Read(p)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					err = context.DeadlineExceeded
				}
				return n, err
			}
		})
	}},
	"it buffers without bound": {"v1/SlowReader", "to an end that does not read", func() transport.Transport {
		return withConn(func(conn *brokenConn) { conn.write = io.Discard.Write })
	}},
	"Write counts what its deadline cut off": {"v1/SlowReader", hangs, func() transport.Transport {
		return withConn(func(conn *brokenConn) {
			conn.write = func(p []byte) (int, error) {
				_, err := conn.Conn.Write(p)
				return len(p), err
			}
		})
	}},
	"the 600,000th byte is wrong": {"v1/Transfer1MiB", "not those that were sent", func() transport.Transport {
		return withConn(func(conn *brokenConn) { conn.read = corrupting(conn.Conn, 600_000) })
	}},
	"the 60,000,000th byte is wrong": {"v1/Transfer64MiB", "not those that were sent", func() transport.Transport {
		return withConn(func(conn *brokenConn) { conn.read = corrupting(conn.Conn, 60_000_000) })
	}},
	"it has room for 50 connections": {"v1/ManyConnections", "too many connections", func() transport.Transport {
		var dialed atomic.Int32
		return &broken{dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
			if dialed.Add(1) > 50 {
				return nil, errors.New("too many connections")
			}
			return toy{}.Dial(ctx, cfg)
		}}
	}},
	"its connections share a stream": {"v1/ManyConnections", "not those that were sent", func() transport.Transport {
		var mu sync.Mutex
		var shared net.Conn
		return &broken{dial: func(ctx context.Context, cfg transport.DialConfig) (_ net.Conn, err error) {
			mu.Lock()
			defer mu.Unlock()
			if shared == nil {
				shared, err = toy{}.Dial(ctx, cfg)
			}
			return shared, err
		}}
	}},
	"one blocked writer blocks all": {"v1/BusyConnections", hangs, func() transport.Transport {
		var mu sync.Mutex
		return withConn(func(conn *brokenConn) {
			conn.write = func(p []byte) (int, error) {
				mu.Lock()
				defer mu.Unlock()
				return conn.Conn.Write(p)
			}
		})
	}},
	"a deadline is not a net.Error": {"v1/NetTest", "want net.Error", func() transport.Transport {
		return withConn(func(conn *brokenConn) {
			conn.read = func(p []byte) (int, error) {
				n, err := conn.Conn.Read(p)
				if errors.Is(err, os.ErrDeadlineExceeded) {
					err = fmt.Errorf("read: %w", err)
				}
				return n, err
			}
		})
	}},
}

// undecidedToy is native and prepared.
type undecidedToy struct{ nativeToy }

func (undecidedToy) Prepare(ctx context.Context, cfg transport.PrepareConfig) (*transport.PreparedStart, error) {
	return preparedToy{}.Prepare(ctx, cfg)
}

// withConn is the toy, with f changing each connection.
func withConn(f func(*brokenConn)) *broken {
	return &broken{conn: func(c net.Conn) net.Conn {
		conn := &brokenConn{Conn: c}
		f(conn)
		return conn
	}}
}

// withFile is a toy that leaves a file in the directory that place returns for
// the configured one. If that is empty, it makes none.
func withFile(place func(dir string) string) *broken {
	return &broken{listen: func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
		if dir := place(cfg.Dir); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, "toy"), nil, 0o600); err != nil {
				return nil, err
			}
		}
		return toy{}.Listen(ctx, cfg)
	}}
}

func acceptingAfterByte(ln net.Listener) net.Listener {
	return &brokenListener{Listener: ln, accept: func() (net.Conn, error) {
		conn, err := ln.Accept()
		if err != nil {
			return nil, err
		}
		first := make([]byte, 1)
		if _, err := io.ReadFull(conn, first); err != nil {
			return nil, err
		}
		rest := io.MultiReader(bytes.NewReader(first), conn)
		return &brokenConn{Conn: conn, read: rest.Read}, nil
	}}
}

// failingTwice returns a Close whose second call fails with an error of its
// own.
func failingTwice(closeOnce func() error) func() error {
	var closed atomic.Bool
	return func() error {
		if closed.Swap(true) {
			return errors.New("closed twice")
		}
		return closeOnce()
	}
}

// corrupting returns a Read that changes the byte at an offset.
func corrupting(from io.Reader, offset int) func([]byte) (int, error) {
	return func(p []byte) (int, error) {
		n, err := from.Read(p)
		if offset < n {
			p[max(offset, 0)] ^= 1
			offset = int(^uint(0) >> 1)
		}
		offset -= n
		return n, err
	}
}
