package pw

import (
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

// authority is what gRPC calls the other side where its name means nothing. Nobody changes the
// list.
var authority = []string{"localhost"}

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

// validate returns an error for metadata that gRPC does not send. Names that begin with a
// colon are not the caller's to set, and are left out.
func validate(md metadata.MD) error {
	for name, values := range md {
		switch {
		case name == "":
			return status.Error(codes.Internal, "there is an empty key in the header")
		case name[0] == ':':
			continue
		case strings.ContainsFunc(name, isNotOfNames):
			return status.Errorf(codes.Internal, "header key %q contains illegal characters not in [0-9a-z-_.]", name)
		case strings.HasSuffix(name, "-bin"):
			continue
		}
		for _, value := range values {
			for i := range len(value) {
				if value[i] < ' ' || value[i] > '~' {
					return status.Errorf(codes.Internal, "header key %q contains value with non-printable ASCII characters", name)
				}
			}
		}
	}
	return nil
}

func isNotOfNames(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '.' && r != '-' && r != '_'
}

// appendMetadata adds the fields of md, and returns how many bytes HTTP/2 would count.
func appendMetadata(b []byte, md metadata.MD) ([]byte, int) {
	size := 0
	for name, values := range md {
		name = strings.ToLower(name)
		if isReserved(name) {
			continue
		}
		for _, value := range values {
			b = appendString(appendString(b, name), value)
			size += len(name) + len(value) + fieldOverhead
		}
	}
	return b, size
}

// metadataBlock takes a block of metadata, with its length before it, from the beginning of b.
func metadataBlock(b []byte) (md, rest []byte, err error) {
	if md, rest, err = block(b, calls.MaxMetadata); err == nil {
		_, _, err = checkMetadata(md)
	}
	return md, rest, err
}

// checkMetadata returns how many fields a block has, and how many bytes HTTP/2 would count.
// It is an error if they are malformed or more than a call may have.
func checkMetadata(b []byte) (fields, size int, err error) {
	for len(b) > 0 {
		var name, value []byte
		if name, b, err = block(b, len(b)); err != nil {
			return 0, 0, err
		}
		if value, b, err = block(b, len(b)); err != nil {
			return 0, 0, err
		}
		if size += len(name) + len(value) + fieldOverhead; size > calls.MaxMetadata {
			return 0, 0, broken("metadata of more than %d bytes", calls.MaxMetadata)
		}
		fields++
	}
	return fields, size, nil
}

// parseMetadata returns the fields of a block. All of them share one string and, if there
// is no duplicate name, one list of values.
func parseMetadata(b []byte) (metadata.MD, error) {
	fields, _, err := checkMetadata(b)
	if err != nil {
		return nil, err
	}
	md := make(metadata.MD, fields)
	values := make([]string, fields)
	text := string(b)
	for i := range fields {
		name, rest, _ := block(b, len(b)) // it was checked
		value, after, _ := block(rest, len(rest))
		key := text[len(text)-len(rest)-len(name) : len(text)-len(rest)]
		values[i] = text[len(text)-len(after)-len(value) : len(text)-len(after)]
		if have, ok := md[key]; ok {
			md[key] = append(have, values[i])
		} else {
			md[key] = values[i : i+1 : i+1]
		}
		b = after
	}
	return md, nil
}
