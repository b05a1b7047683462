package pw

import (
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// fieldOverhead is the cost of a field beside its bytes, as HTTP/2 counts it (RFC 9113,
// section 6.5.2).
const fieldOverhead = 32

const (
	authorityKey   = ":authority"
	contentTypeKey = "content-type"
)

// authority is what gRPC calls the other side where its name means nothing.
const authority = "localhost"

// contentType returns what gRPC calls messages of a codec.
func contentType(subtype string) string {
	if subtype == "" {
		return "application/grpc"
	}
	return "application/grpc+" + subtype
}

// isReserved reports whether gRPC keeps a name for itself. Such a field is not sent.
func isReserved(name string) bool {
	switch name {
	case "content-type", "user-agent", "te", "grpc-encoding", "grpc-message", "grpc-message-type", "grpc-status",
		"grpc-status-details-bin", "grpc-timeout":
		return true
	default:
		return strings.HasPrefix(name, ":")
	}
}

// validate returns an error for metadata that gRPC does not send.
func validate(md metadata.MD) error {
	for name, values := range md {
		if err := validateField(name, values...); err != nil {
			return err
		}
	}
	return nil
}

// validateField is validate for one name. A name that begins with a colon is not the caller's
// to set, and is left out.
func validateField(name string, values ...string) error {
	switch {
	case name == "":
		return status.Error(codes.Internal, "there is an empty key in the header")
	case name[0] == ':':
		return nil
	case !isName(name):
		return status.Errorf(codes.Internal, "header key %q contains illegal characters not in [0-9a-z-_.]", name)
	case strings.HasSuffix(name, "-bin"):
		return nil
	}
	for _, value := range values {
		for i := range len(value) {
			if value[i] < ' ' || value[i] > '~' {
				return status.Errorf(codes.Internal, "header key %q contains value with non-printable ASCII characters", name)
			}
		}
	}
	return nil
}

func isName(name string) bool {
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return true
}

// fields is metadata, encoded.
type fields struct {
	block []byte
	size  int // in bytes, as HTTP/2 counts them
}

// add encodes the values of a name. Names that gRPC keeps for itself are left out.
func (f *fields) add(name string, values ...string) {
	name = strings.ToLower(name)
	if isReserved(name) {
		return
	}
	for _, value := range values {
		f.block = appendString(appendString(f.block, name), value)
		f.size += len(name) + len(value) + fieldOverhead
	}
}

// addAll encodes metadata. The same metadata gives the same bytes.
func (f *fields) addAll(md metadata.MD) {
	var room [8]string
	for _, name := range appendNames(room[:0], md) {
		f.add(name, md[name]...)
	}
}

// appendNames adds the names in md to a list, and sorts it: the other side parses metadata only
// if its bytes are not those of the call before.
func appendNames(names []string, md metadata.MD) []string {
	for name := range md {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// metadataBlock takes a block of metadata, with its length before it, from the beginning of b.
// valid is a block that was checked before.
func metadataBlock(b []byte, valid string) (md, rest []byte, err error) {
	if md, rest, err = block(b, calls.MaxMetadata); err == nil && string(md) != valid {
		_, err = checkMetadata(md)
	}
	return md, rest, err
}

// checkMetadata returns how many bytes HTTP/2 would count of a block. It is an error if the
// fields are malformed or more than a call may have.
func checkMetadata(b []byte) (size int, err error) {
	for len(b) > 0 {
		var name, value []byte
		if name, b, err = block(b, len(b)); err != nil {
			return 0, err
		}
		if value, b, err = block(b, len(b)); err != nil {
			return 0, err
		}
		if size += len(name) + len(value) + fieldOverhead; size > calls.MaxMetadata {
			return 0, broken("metadata of more than %d bytes", calls.MaxMetadata)
		}
	}
	return size, nil
}

// extra is a field that this side adds to what was received.
type extra struct{ name, value string }

// lists is memory for the lists of values in metadata, so that many share an allocation.
type lists struct{ free []string }

const (
	// listsAtOnce is how many values share an allocation. Metadata that a caller keeps also
	// keeps the others.
	listsAtOnce = 32
	// listsUpTo bounds the metadata, in bytes, whose values share an allocation with those of
	// other calls.
	listsUpTo = 1 << 10
)

// take returns an empty list for n values of metadata of that many bytes. A nil lists makes an
// allocation for each.
func (l *lists) take(n, size int) []string {
	if l == nil || n > listsAtOnce/4 || size > listsUpTo {
		return make([]string, 0, n)
	}
	if len(l.free) < n {
		l.free = make([]string, listsAtOnce)
	}
	list := l.free[:0:n]
	l.free = l.free[n:]
	return list
}

// parseMetadata returns the fields of a block that was checked, and extra ones. The names and
// values are parts of the block. The lists of values come from l, which may be nil.
func parseMetadata(l *lists, b string, more ...extra) metadata.MD {
	n := 0
	for rest := b; rest != ""; n++ {
		_, rest = cutString(rest)
		_, rest = cutString(rest)
	}
	md := make(metadata.MD, n+len(more))
	values := l.take(n+len(more), len(b))
	for b != "" {
		var name, value string
		name, b = cutString(b)
		value, b = cutString(b)
		if have, ok := md[name]; ok {
			md[name] = append(have, value)
			continue
		}
		values = append(values, value)
		md[name] = values[len(values)-1 : len(values) : len(values)]
	}
	for _, e := range more {
		values = append(values, e.value)
		md[e.name] = values[len(values)-1 : len(values) : len(values)]
	}
	return md
}

// cutString takes a string with its length before it from the beginning of b, which was checked.
func cutString(b string) (s, rest string) {
	n, shift, at := 0, 0, 0
	for b[at] >= 0x80 {
		n |= int(b[at]&0x7f) << shift
		shift += 7
		at++
	}
	n |= int(b[at]) << shift
	return b[at+1 : at+1+n], b[at+1+n:]
}
