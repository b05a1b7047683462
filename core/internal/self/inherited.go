package self

// FileID identifies the open file of a descriptor on this machine: by the device and the
// inode that fstat returns. It is zero where the host did not say.
type FileID struct{ Device, Inode uint64 }

// Descriptor is one that a host has passed on to a plugin. A program between the two may
// have closed it, and its number may now belong to another file.
type Descriptor struct {
	FD   int // 0 means that the host passed on none
	ID   FileID
	Pipe bool // anything except a pipe is not what the host passed on
}

// Ties are what a host passes on so that its plugin notices the end of the host.
type Ties struct {
	// Lifeline is the reading end of a pipe whose writing end only the host has.
	Lifeline Descriptor
	// Leash is the reading end of the pipe of a [leash.Leash].
	Leash Descriptor
	// Host is the number of the host's process, 0 if the host does not say.
	Host int
}
