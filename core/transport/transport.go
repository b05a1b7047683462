// Package transport says how bytes may travel between a host and a plugin: the
// contract that a transport module implements, and the set, ordered by
// preference, that an application gives to host.WithTransports and
// plugin.WithTransports.
//
// Implementations live in modules of their own, such as
// github.com/plugwire/plugwire/transport/unix. Package transporttest is the
// conformance suite that an implementation runs with one call. A transport
// moves bytes and nothing else: authentication, streams and calls are built
// above it.
package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Transport opens listeners on the plugin's side and connections on the
// host's. Its methods are safe for concurrent use; a value holds no resources
// of its own.
//
// A transport's version covers the syntax of its addresses and every byte that
// it puts on a connection before the session's first byte. unix/1 and tcp/1
// put none there: they are what go-plugin speaks.
//
// Its connections are reliable, ordered byte streams in both directions, with
// buffers of bounded size: a reader that is slow blocks the writer. A deadline
// that passes gives os.ErrDeadlineExceeded. Close delivers what was written,
// after which the other end reads io.EOF; it unblocks Read and Write with
// net.ErrClosed. A second Close of a connection or a listener is harmless and
// returns nil or net.ErrClosed.
type Transport interface {
	// Name returns the transport's name on the wire: lower-case letters,
	// digits and '-', starting with a letter, at most 32 in all.
	Name() string

	// Versions returns the versions that this implementation speaks, each 1 or
	// higher and listed once, in any order.
	Versions() []int

	// Listen opens a listener for one plugin. The listener's Addr().String()
	// is what a host passes to Dial; it passes [CheckAddress]. Accept returns
	// a connection when it has been dialed, without waiting for its first
	// byte: either side may speak first. The context bounds Listen only; one
	// that has ended already is refused with its error. Close of the listener
	// unblocks Accept with an error that satisfies
	// errors.Is(err, net.ErrClosed), removes what Listen created, and leaves
	// accepted connections open.
	Listen(ctx context.Context, cfg ListenConfig) (net.Listener, error)

	// Dial opens one connection to a plugin's listener. The context bounds the
	// dial only, never the connection's later life; one that has ended already
	// is refused with its error. Where nobody listens, Dial fails in bounded
	// time with an error that names the address. The caller closes the
	// connection.
	Dial(ctx context.Context, cfg DialConfig) (net.Conn, error)
}

// ListenConfig is what a transport is told when it opens a listener. Fields may
// be added; the zero value of a field means that nothing is asked for.
type ListenConfig struct {
	// Version is the chosen version of the transport. It is one of Versions;
	// any other is refused.
	Version int
	// Dir is an existing directory that only the plugin and its host can
	// enter, made and removed by the host. What the transport creates in the
	// file system it creates there and nowhere else. Empty when the host gave
	// none: a transport that needs one then makes and removes its own.
	Dir string
	// Group is who else may use what the transport creates in the file system, a
	// name or a number; empty for nobody.
	Group string
	// MinPort and MaxPort, both included, are where a transport with ports
	// looks for a free one. 0 and 0: any that the system chooses.
	MinPort, MaxPort int
	// TLS is how the plugin proves who it is and knows its host. It is set for
	// a [Native] transport and nil for any other. The transport may clone it
	// and set NextProtos, and leaves the rest as it is.
	TLS *tls.Config
	// Files are what the plugin inherited of a [Preparer]'s Prepared.Files, in
	// the same order; nil for any other transport. Listen owns them, also when
	// it fails.
	Files []*os.File
	// Logger takes what an operator should know and no error says, such as a
	// limit of the system that costs speed. Nil: nothing is logged.
	Logger *slog.Logger
}

// DialConfig is what a transport is told when it opens a connection. Fields may
// be added.
type DialConfig struct {
	// Version is the version that the plugin answered with. It is one of
	// Versions; any other is refused.
	Version int
	// Address is the plugin's address as it stood in the answer: untrusted
	// input, of any length and with any bytes. What does not pass
	// [CheckAddress], or is not in the transport's own syntax, is refused.
	Address string
	// TLS is how the host proves who it is and knows its plugin, as in
	// [ListenConfig].
	TLS *tls.Config
	// Unwatched is set if nothing but the connection tells the host that the plugin's
	// process has ended. A connection whose other end can vanish without a trace,
	// unlike a socket of the kernel's, then has to notice that by itself, in about a
	// second. Otherwise it may take its time: the host closes it.
	Unwatched bool
	// Logger is as in [ListenConfig].
	Logger *slog.Logger
}

// MaxAddressLen bounds an address. It is part of the one-line answer, which a
// person must be able to read in an error message; the longest that any known
// transport needs is a unix socket path of 107 bytes.
const MaxAddressLen = 1024

// CheckAddress reports whether address may stand in an answer: not empty, at most
// [MaxAddressLen] bytes, without '|', and without control characters other than the
// tab. A path of a socket with any other byte, blanks and bytes that are not ASCII
// included, is one that go-plugin's peers send.
func CheckAddress(address string) error {
	switch {
	case address == "":
		return errors.New("the address is empty")
	case len(address) > MaxAddressLen:
		return fmt.Errorf("the address is %d bytes long, at most %d are allowed", len(address), MaxAddressLen)
	}
	for _, b := range []byte(address) {
		if b < ' ' && b != '\t' || b == '\x7f' || b == '|' {
			return fmt.Errorf("the address %q holds %q: no control character and no '|' can be sent", address, b)
		}
	}
	return nil
}

// ID names one version of one transport, "unix/1".
type ID struct {
	Name    string
	Version int
}

// String returns "name/version".
func (id ID) String() string { return id.Name + "/" + strconv.Itoa(id.Version) }

// validName allows 32 bytes: the names of many transports fit on one line that
// a person reads.
var validName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// ParseID parses "name/version".
func ParseID(s string) (ID, error) {
	name, version, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(version)
	if !ok || err != nil || n < 1 || strconv.Itoa(n) != version || !validName.MatchString(name) {
		return ID{}, fmt.Errorf("%q is not a transport and version such as unix/1", s)
	}
	return ID{name, n}, nil
}

// Set is transports in order of preference, most preferred first.
type Set []Transport

// NewSet checks that the transports have valid, distinct names and valid,
// distinct versions. An empty set is valid here; whether it is allowed is for
// the caller to say.
func NewSet(transports ...Transport) (Set, error) {
	seen := make(map[string]bool, len(transports))
	for _, t := range transports {
		if t == nil {
			return nil, errors.New("a transport is nil")
		}
		name := t.Name()
		if !validName.MatchString(name) {
			return nil, fmt.Errorf("transport %T: name %q: want lower-case letters, digits and '-', starting with a letter, at most 32", t, name)
		}
		if seen[name] {
			return nil, fmt.Errorf("transport %s is given twice", name)
		}
		seen[name] = true
		versions := slices.Sorted(slices.Values(t.Versions()))
		if len(versions) == 0 || versions[0] < 1 || len(slices.Compact(slices.Clone(versions))) != len(versions) {
			return nil, fmt.Errorf("transport %s: versions %v: want at least one, each 1 or higher and listed once", name, t.Versions())
		}
	}
	return slices.Clone(transports), nil
}

// ByName returns the transport with that name, or nil.
func (s Set) ByName(name string) Transport {
	for _, t := range s {
		if t.Name() == name {
			return t
		}
	}
	return nil
}

// IDs returns every version of every transport: transports in order of
// preference, the versions of each highest first.
func (s Set) IDs() []ID {
	var ids []ID
	for _, t := range s {
		versions := slices.Sorted(slices.Values(t.Versions()))
		for _, v := range slices.Backward(versions) {
			ids = append(ids, ID{t.Name(), v})
		}
	}
	return ids
}
