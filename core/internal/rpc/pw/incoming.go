package pw

import (
	"sync"

	"google.golang.org/grpc/metadata"
)

// incoming is the metadata of a call that came, or of several with the same.
type incoming struct {
	text    string // encoded
	size    int    // in bytes, as HTTP/2 counts them
	subtype string // of the codec

	parse sync.Once
	md    metadata.MD // set by parse; nobody changes it, since package metadata gives out copies
}

// incomingOf checks the metadata of a new call, and returns it. Callers often send the same as
// the call before, such as a token or a tenant, and then it is neither checked nor parsed again.
// Otherwise own has it. The caller holds mu.
func (c *conn) incomingOf(md []byte, subtype string, own *incoming) (*incoming, error) {
	if c.incoming != nil && c.incoming.text == string(md) && c.incoming.subtype == subtype {
		return c.incoming, nil
	}
	size, err := checkMetadata(md)
	if err != nil {
		return nil, err
	}
	own.text, own.size, own.subtype = string(md), size, subtype
	if len(md) <= lightMetadata { // the connection keeps no more than that
		c.incoming = own
	}
	return own, nil
}

// parsed returns the metadata as a handler's context has it. It must not be changed.
func (in *incoming) parsed() metadata.MD {
	in.parse.Do(func() {
		in.md = parseMetadata(nil, in.text, extra{authorityKey, authority}, extra{contentTypeKey, contentType(in.subtype)})
	})
	return in.md
}
