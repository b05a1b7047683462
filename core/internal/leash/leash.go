// Package leash makes the kernel end a process group when every process that holds the
// group's leash has ended, in whatever way. A host holds the leash of each plugin that it
// starts (package process), and a plugin holds its own (package self).
package leash
