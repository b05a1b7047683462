// Package transport defines how bytes may travel between a host and a plugin. It has
// the contract that a transport module implements. An application gives a set of
// transports, in order of preference, to host.WithTransports and plugin.WithTransports.
//
// Implementations live in modules of their own, such as
// github.com/plugwire/plugwire/transport/unix. Package transporttest is the
// conformance suite that an implementation runs with one call. A transport only
// moves bytes: authentication, streams and calls are built above it.
package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Transport opens listeners on the plugin's side and connections on the
// host's. Its methods are safe for concurrent use; a value holds no resources
// of its own.
//
// A transport's version covers the syntax of its addresses and every byte that
// it puts on a connection before the session's first byte. unix/1 and tcp/1,
// which go-plugin speaks, put no bytes there.
//
// Its connections are reliable, ordered byte streams in both directions, with
// buffers of bounded size: a slow reader blocks the writer. A call whose
// deadline passes returns os.ErrDeadlineExceeded. Close delivers the written
// bytes, after which the other end reads io.EOF; it unblocks Read and Write
// with net.ErrClosed. A second Close of a connection or a listener is harmless
// and returns nil or net.ErrClosed.
type Transport interface {
	// Name returns the transport's name on the wire: lower-case letters,
	// digits and '-', starting with a letter, at most 32 in all.
	Name() string

	// Versions returns the versions that this implementation speaks, each 1 or
	// higher and listed once, in any order.
	Versions() []int

	// Listen opens a listener for one plugin. A host passes the listener's
	// Addr().String() to Dial; this address is valid for [CheckAddress]. Accept
	// returns a connection when it has been dialed, without waiting for its
	// first byte: either side may speak first. The context bounds Listen only.
	// If it has ended already, Listen returns its error. Close of the listener
	// unblocks Accept with an error that satisfies errors.Is(err,
	// net.ErrClosed), removes what Listen created, and leaves accepted
	// connections open.
	Listen(ctx context.Context, cfg ListenConfig) (net.Listener, error)

	// Dial opens one connection to a plugin's listener. The context bounds the
	// dial only, never the connection's later life; if it has ended already,
	// Dial returns its error. If no process listens at the address, Dial fails
	// within bounded time with an error that names the address. The caller
	// closes the connection.
	Dial(ctx context.Context, cfg DialConfig) (net.Conn, error)
}

// ListenConfig configures Listen. Fields may be added; the zero value of a
// field asks for nothing.
type ListenConfig struct {
	// Version is the chosen version of the transport. It is one of Versions;
	// Listen refuses any other.
	Version int
	// Dir is an existing directory that only the plugin and its host can enter.
	// The host makes and removes it. The transport creates files there and
	// nowhere else. It is empty if the host passed none: a transport that needs
	// a directory then makes and removes its own.
	Dir string
	// Group is the group, a name or a number, whose members may also use the
	// files that the transport creates. Empty means that no group may.
	Group string
	// MinPort and MaxPort, both included, are the range in which a transport
	// with ports looks for a free port. If both are 0, the system chooses.
	MinPort, MaxPort int
	// TLS has the plugin's certificate and the check of the host's. It is set
	// for a [Native] transport and nil for any other. The transport may clone
	// it and set NextProtos, and changes nothing else.
	TLS *tls.Config
	// Files are a [Preparer]'s PreparedStart.Files as the plugin inherited them, in
	// the same order; nil for any other transport. Listen owns them, also when
	// it fails.
	Files []*os.File
	// Logger gets what an operator should know and no error reports, such as a
	// limit of the system that costs speed. If it is nil, nothing is logged.
	Logger *slog.Logger
}

// DialConfig configures Dial. Fields may be added.
type DialConfig struct {
	// Version is the version that the plugin answered with. It is one of
	// Versions; Dial refuses any other.
	Version int
	// Address is the plugin's address from the answer: untrusted input, of any
	// length and with any bytes. Dial refuses an address that is not valid for
	// [CheckAddress] or is not in the transport's own syntax.
	Address string
	// TLS has the host's certificate and the check of the plugin's. See
	// [ListenConfig].
	TLS *tls.Config
	// Unwatched is set if the host learns only from the connection that the plugin's
	// process has ended. The other end of a connection in user space, unlike that of
	// a kernel's socket, can vanish without a trace. Such a connection must then
	// notice it by itself within about a second. Otherwise it may take longer: the
	// host closes it.
	Unwatched bool
	// Logger is described in [ListenConfig].
	Logger *slog.Logger
}

// MaxAddressLen bounds an address. The address is part of the one-line answer,
// which a person must be able to read in an error message. The longest address
// of any known transport is a unix socket path of 107 bytes.
const MaxAddressLen = 1024

// CheckAddress reports whether address may stand in an answer: not empty, at most
// [MaxAddressLen] bytes, without '|', and without control characters other than the
// tab. Blanks and bytes that are not ASCII are allowed, because go-plugin's peers
// send paths of sockets with any other byte.
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

// maxNameLen bounds the name of a transport: the names of many transports fit on one line
// that a person reads.
const maxNameLen = 32

// isName reports whether s is a valid name of a transport. A regular expression would cost
// every start of a plugin its compilation.
func isName(s string) bool {
	for i, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= maxNameLen
}

// ParseID parses "name/version".
func ParseID(s string) (ID, error) {
	name, version, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(version)
	if !ok || err != nil || n < 1 || strconv.Itoa(n) != version || !isName(name) {
		return ID{}, fmt.Errorf("%q is not a transport and version such as unix/1", s)
	}
	return ID{name, n}, nil
}

// Set has transports in order of preference, most preferred first.
type Set []Transport

// NewSet checks that the transports have valid, distinct names and valid,
// distinct versions. An empty set is valid here; the caller decides whether it
// is allowed.
func NewSet(transports ...Transport) (Set, error) {
	seen := make(map[string]bool, len(transports))
	for _, t := range transports {
		if t == nil {
			return nil, errors.New("a transport is nil")
		}
		name := t.Name()
		if !isName(name) {
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
