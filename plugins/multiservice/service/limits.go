package service

// These are the limits of a request in multi.proto.
const (
	// maxName keeps a name readable in a line of a log.
	maxName = 64
	// maxKey has room for a path of some depth, and keeps a token, which holds
	// a key, short enough for a command line or a URL.
	maxKey = 1024
	// maxValue bounds the memory of a call. Larger values belong into files, or
	// a stream.
	maxValue = 1 << 20

	// defaultPageSize is about a screenful.
	defaultPageSize = 50
	// maxPageSize bounds how long one call reads.
	maxPageSize = 1000
	// maxPageBytes keeps a page within the default limit of a peer on plain
	// gRPC, which is 4 MiB, with room for the rest of the response. A single
	// entry is smaller.
	maxPageBytes = 3 << 20
)

// MaxMessageSize is the largest message that the plugin need accept or send: the
// limits above keep requests and responses within it. With
// plugin.WithMaxMessageSize, a larger message is refused before it is in memory.
const MaxMessageSize = 4 << 20
