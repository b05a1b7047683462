package leash

import "os"

// Holder is what one process holds of a leash.
type Holder = holder

// NewHolder opens a holder's ends of the pipe that f is one end of.
func NewHolder(f *os.File) (Holder, error) { return newHolder(f) }

// Tie makes the group the one that is ended.
func (h holder) Tie(group int) error { return h.tie(group) }

// HolderOf returns what this process holds of a leash.
func HolderOf(l *Leash) *Holder { return &l.holder }
