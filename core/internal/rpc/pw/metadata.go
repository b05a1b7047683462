package pw

import (
	"strings"

	"google.golang.org/grpc/metadata"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// fieldOverhead is the cost of a field beside its bytes, as HTTP/2 counts it (RFC 9113,
// section 6.5.2).
const fieldOverhead = 32

// isReserved reports whether gRPC keeps a name for itself. Such a field is not sent.
func isReserved(name string) bool {
	switch name {
	case "content-type", "user-agent", "te":
		return true
	default:
		return strings.HasPrefix(name, "grpc-") || strings.HasPrefix(name, ":")
	}
}

// appendMetadata adds the fields of md, and reports how many bytes HTTP/2 would count.
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

// parseMetadata returns the fields of a block.
func parseMetadata(b []byte) (metadata.MD, error) {
	md := make(metadata.MD)
	size := 0
	for len(b) > 0 {
		var name, value []byte
		var err error
		if name, b, err = block(b, len(b)); err != nil {
			return nil, err
		}
		if value, b, err = block(b, len(b)); err != nil {
			return nil, err
		}
		if size += len(name) + len(value) + fieldOverhead; size > calls.MaxMetadata {
			return nil, broken("metadata of more than %d bytes", calls.MaxMetadata)
		}
		key := string(name)
		md[key] = append(md[key], string(value))
	}
	return md, nil
}
