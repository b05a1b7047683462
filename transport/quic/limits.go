package quic

import "time"

const (
	// maxStreams is how many streams of one connection may be open at a time.
	// Calls of one wire share a stream, so that a busy plugin needs some dozens
	// and hundreds are plenty.
	maxStreams = 512

	// maxConns is how many connections a listener has at a time, those that are
	// still in their handshake included. A host needs one, or one for each Dial.
	maxConns = 256

	// streamWindow is how much of one stream is buffered for a reader that is
	// slow. More did not make a stream over loopback faster.
	streamWindow = 512 << 10

	// connWindow is the same for a connection. It has room for every stream to
	// be unread, as one that is must never keep another waiting, and thereby
	// bounds what an authenticated peer can make this process hold: 256 MiB.
	connWindow = maxStreams * streamWindow

	// keepAlive is how long a host is silent. Firewalls and address translators
	// forget a flow of UDP after 30 s or more (RFC 4787 section 4.3 asks for 2
	// minutes, which not all keep).
	keepAlive = 25 * time.Second

	// watchedKeepAlive is the same for a host that nothing else tells of the end of the
	// plugin's process: the system answers what is sent to a socket that is gone.
	watchedKeepAlive = 500 * time.Millisecond

	// idleTimeout ends a connection whose other end has been silent. The end of
	// a process is known by other means, long before; a process that is stopped
	// in a debugger, or whose machine sleeps, must find its session again. It is
	// not infinite because the last packet of a connection, which says that it
	// has ended, can be lost: nobody would ever release what is left of it.
	idleTimeout = time.Hour

	// minRetry and maxRetry are how long a host waits before it asks a plugin
	// again that had no room. quic-go refuses connections when 32 have come and
	// the listener has not been scheduled yet, which is over in no time.
	minRetry = 5 * time.Millisecond
	maxRetry = 200 * time.Millisecond

	// loopbackPacketSize is the largest that quic-go sends. Over loopback it
	// always fits, and need not be discovered.
	loopbackPacketSize = 1452
)

// limits are those that tests shorten.
type limits struct {
	// handshake bounds a handshake, with the greeting that follows it. It is
	// long for a machine that is busy with starting other things.
	handshake time.Duration
	// firstByte bounds the wait for the byte that each stream starts with.
	firstByte time.Duration
	// keepAlive, watched and idle are keepAlive, watchedKeepAlive and idleTimeout.
	keepAlive, watched, idle time.Duration
	// linger is how long a connection stays when its own side has closed the
	// last stream, for the other to read what was written.
	linger time.Duration
}

var defaultLimits = limits{
	handshake: 10 * time.Second,
	firstByte: 10 * time.Second,
	keepAlive: keepAlive,
	watched:   watchedKeepAlive,
	idle:      idleTimeout,
	linger:    30 * time.Second,
}
