package quic

import "time"

const (
	// maxStreams is how many streams each side of a connection may have open at a time.
	// Each call has a stream of its own, and 10,000 calls at once are no exception. With
	// one packet, a peer can make the other side keep about a kilobyte for each stream.
	maxStreams = 1 << 14

	// maxConns is how many connections a listener has at a time, those that are
	// still in their handshake included. A host needs one, or one for each Dial.
	maxConns = 256

	// streamWindow is how many bytes of one stream are buffered for a slow
	// reader. More did not make a stream over loopback faster.
	streamWindow = 512 << 10

	// connWindow is how many bytes of one connection are buffered. An unread
	// stream must never block another, so there is room for 2,048 streams that are
	// full and unread: as many calls as may be in flight, unless that limit was
	// raised. It bounds what an authenticated peer can make this process hold: 1 GiB.
	connWindow = 2048 * streamWindow

	// keepAlive is how long a host stays silent. Firewalls and address
	// translators forget a flow of UDP after 30 s or more (RFC 4787 section 4.3
	// asks for 2 minutes, which not all keep).
	keepAlive = 25 * time.Second

	// watchedKeepAlive is the same for a host that has no other way to notice the end
	// of the plugin's process: the system answers packets to a socket that is gone.
	watchedKeepAlive = 500 * time.Millisecond

	// idleTimeout ends a connection whose other end has been silent. It is long
	// because a process that is stopped in a debugger, or whose machine sleeps,
	// must find its session again; hosts notice the end of a process in other
	// ways, long before. It is finite because the last packet of a connection,
	// which announces its end, can be lost: the other end would then never be
	// released.
	idleTimeout = time.Hour

	// minRetry and maxRetry are how long a host waits before it asks again a
	// plugin that had no room. quic-go refuses connections when 32 have come
	// before the listener was scheduled, which lasts only a moment.
	minRetry = 5 * time.Millisecond
	maxRetry = 200 * time.Millisecond

	// loopbackPacketSize is the largest packet that quic-go sends. Such a
	// packet always fits over loopback, so quic-go need not discover the size.
	loopbackPacketSize = 1452
)

// limits has the limits that tests shorten.
type limits struct {
	// streams is maxStreams.
	streams int64
	// handshake bounds a handshake, with the greeting that follows it. It is
	// long for a machine that is busy with starting other things.
	handshake time.Duration
	// firstByte bounds the wait for the byte that each stream starts with.
	firstByte time.Duration
	// keepAlive, watched and idle are keepAlive, watchedKeepAlive and idleTimeout.
	keepAlive, watched, idle time.Duration
	// linger is how long a connection stays open after its own side has closed
	// the last stream, so that the other side can read what was written.
	linger time.Duration
}

var defaultLimits = limits{
	streams:   maxStreams,
	handshake: 10 * time.Second,
	firstByte: 10 * time.Second,
	keepAlive: keepAlive,
	watched:   watchedKeepAlive,
	idle:      idleTimeout,
	linger:    30 * time.Second,
}
