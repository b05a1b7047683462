package self

// FileID tells what a descriptor is open on from everything else that is open on
// this machine: the device and the inode that fstat names. It is zero where nobody
// has told it.
type FileID struct{ Device, Inode uint64 }

// Descriptor is one that a host has passed on to a plugin. A program between the two
// may have closed it, and its number may be in use for something else.
type Descriptor struct {
	FD   int // 0: there is none
	ID   FileID
	Pipe bool // it can only be a pipe
}

// Ties are what a host gives a plugin to notice the host's end by.
type Ties struct {
	// Lifeline is the reading end of a pipe whose writing end only the host has.
	Lifeline Descriptor
	// Leash is the reading end of the pipe of a [leash.Leash].
	Leash Descriptor
	// Host is the number of the host's process, 0 if it does not say.
	Host int
}
