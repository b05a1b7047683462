package service

// The limits of a request, as multi.proto has them.
const (
	// maxName keeps a name readable in a line of a log.
	maxName = 64
	// maxKey has room for a path of some depth, and keeps a token, which holds
	// a key, short enough for a command line or a URL.
	maxKey = 1024
	// maxValue bounds what a call holds in memory. Larger things belong into
	// files, or a stream.
	maxValue = 1 << 20

	// defaultPageSize is about a screenful.
	defaultPageSize = 50
	// maxPageSize bounds how long one call reads.
	maxPageSize = 1000
	// maxPageBytes has a page fit into a message of a peer on plain gRPC, which
	// receives at most 4 MiB by default, with room for the rest of the response.
	// An entry alone is less.
	maxPageBytes = 3 << 20
)

// MaxMessageSize is the largest message that the plugin need accept or send: the
// limits above keep requests and responses within it. With
// plugin.WithMaxMessageSize a larger one is refused before it is in memory.
const MaxMessageSize = 4 << 20
