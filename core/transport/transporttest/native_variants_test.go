package transporttest

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync/atomic"

	"github.com/plugwire/plugwire/core/transport"
)

var nativeVariants = map[string]variant{
	"it listens without certificates": {"v1/SessionNoTLS", "Listen without TLS: no error", func() transport.Transport {
		return &brokenNative{listen: func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			if cfg.TLS == nil {
				return toy{}.Listen(ctx, cfg)
			}
			return nativeToy{}.Listen(ctx, cfg)
		}}
	}},
	"it dials without certificates": {"v1/SessionNoTLS", ": Dial without TLS: no error", func() transport.Transport {
		return &brokenNative{dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
			return toy{}.Dial(ctx, cfg)
		}}
	}},
	"its streams do not identify the peer": {"v1/SessionState", "does not implement transport.SecureConn", func() transport.Transport {
		return &brokenNative{conn: func(*brokenConn) {}}
	}},
	"it changes the configuration that it is given": {"v1/SessionState", "changed a TLS configuration", func() transport.Transport {
		return &brokenNative{listen: func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			cfg.TLS.NextProtos = []string{"toy"}
			return nativeToy{}.Listen(ctx, cfg)
		}}
	}},
	"its plugins accept any host": {"v1/SessionWrongCertificate", "a host with another certificate: SessionDial and a Read gave", func() transport.Transport {
		return &brokenNative{listen: func(ctx context.Context, cfg transport.ListenConfig) (net.Listener, error) {
			cfg.TLS = unpinned(cfg.TLS)
			return nativeToy{}.Listen(ctx, cfg)
		}}
	}},
	"its hosts accept any plugin": {"v1/SessionWrongCertificate", "a plugin with another certificate: Dial and a Read gave", func() transport.Transport {
		return &brokenNative{dial: func(ctx context.Context, cfg transport.DialConfig) (net.Conn, error) {
			cfg.TLS = unpinned(cfg.TLS)
			return nativeToy{}.Dial(ctx, cfg)
		}}
	}},
	"its sessions are in any version": {"v1/SessionUnknownVersion", "Dial with version 0: no error", func() transport.Transport {
		return &brokenNative{dialSession: func(ctx context.Context, cfg transport.DialConfig) (transport.Session, error) {
			cfg.Version = 1
			return nativeToy{}.DialSession(ctx, cfg)
		}}
	}},
	"the context of DialSession closes the session": {"v1/SessionContextEndsAfter", "after the context of Dial has ended", func() transport.Transport {
		return &brokenNative{dialSession: func(ctx context.Context, cfg transport.DialConfig) (transport.Session, error) {
			s, err := nativeToy{}.DialSession(ctx, cfg)
			if err == nil {
				context.AfterFunc(ctx, func() { s.Close() })
			}
			return s, err
		}}
	}},
	"its streams end late": {"v1/SessionCloseUnblocks", hangs, func() transport.Transport {
		return &brokenNative{conn: func(conn *brokenConn) { conn.close = func() error { return nil } }}
	}},
	"its streams share what may be unread": {"v1/SessionUnreadStreams", "a stream beside streams that are not read", func() transport.Transport {
		var unread atomic.Int64
		return &brokenNative{conn: func(conn *brokenConn) {
			conn.write = func(p []byte) (int, error) {
				if unread.Load() > 4<<20 {
					return 0, os.ErrDeadlineExceeded
				}
				n, err := conn.Conn.Write(p)
				unread.Add(int64(n))
				return n, err
			}
			conn.read = func(p []byte) (int, error) {
				n, err := conn.Conn.Read(p)
				unread.Add(int64(-n))
				return n, err
			}
		}}
	}},
	"it counts the streams that have ended": {"v1/SessionShortStreams", "stream 256: dial: open a stream: too many streams", func() transport.Transport {
		return &brokenNative{session: func(s *brokenSession) {
			var opened atomic.Int32
			s.openStream = func(ctx context.Context) (net.Conn, error) {
				if opened.Add(1) > 256 {
					return nil, errors.New("too many streams")
				}
				return s.Session.OpenStream(ctx)
			}
		}}
	}},
	"Close of a session leaves its streams": {"v1/SessionClose", hangs, func() transport.Transport {
		return &brokenNative{session: func(s *brokenSession) { s.close = func() error { return nil } }}
	}},
	"Close of a session ends its streams as if they were whole": {"v1/SessionClose", "want an error other than io.EOF", func() transport.Transport {
		return &brokenNative{session: func(s *brokenSession) {
			s.close = func() error {
				toy := s.Session.(*toySessionConn)
				toy.mu.Lock()
				for _, conn := range toy.streams {
					conn.Close()
				}
				toy.mu.Unlock()
				return toy.Close()
			}
		}}
	}},
	"a closed session opens streams": {"v1/SessionClose", "OpenStream after Close: <nil>, want net.ErrClosed", func() transport.Transport {
		return &brokenNative{session: func(s *brokenSession) {
			toy := s.Session.(*toySessionConn)
			s.openStream = func(ctx context.Context) (net.Conn, error) {
				toy.mu.Lock()
				toy.closed = false
				toy.mu.Unlock()
				return toy.OpenStream(ctx)
			}
		}}
	}},
	"a second Close of a session fails": {"v1/SessionClose", "second Close: closed twice", func() transport.Transport {
		return &brokenNative{session: func(s *brokenSession) { s.close = failingTwice(s.Session.Close) }}
	}},
}

// unpinned returns a copy of cfg that accepts any certificate.
func unpinned(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return nil
	}
	cfg = cfg.Clone()
	cfg.VerifyConnection = nil
	return cfg
}
