//go:build unix

package self

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Lifeline is what tells a plugin that its host is gone: a Read then ends.
type Lifeline struct {
	io.Reader
	group int // that the host has made; this process may move to another
}

// OpenLifeline takes what the host has passed on to notice its end by, and keeps it
// from the plugin's own children. Then it turns the parent-death signal off, which
// would not let the plugin remove its socket.
//
// A program between the two may have closed a descriptor. Then the Lifeline is the next
// best thing, and the error says what was closed and what there is instead: the same
// pipe, opened anew in the host's process where the system allows that, or the end of
// the plugin's standard output, which the host reads for as long as it lives. In the
// second case the parent-death signal stays, and the leash, if there is one, is left to
// the host alone: nothing else is sure to end a plugin that is stopped or stuck.
func OpenLifeline(t Ties) (*Lifeline, error) {
	l := &Lifeline{group: unix.Getpgrp()}
	pipe, lost := t.Lifeline.inheritOrReopen(t.Host)
	if pipe == nil {
		stdout, err := unix.FcntlInt(uintptr(unix.Stdout), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, errors.Join(lost, fmt.Errorf("standard output: %w", err))
		}
		l.Reader = NewReader(os.NewFile(uintptr(stdout), "stdout"))
		return l, fmt.Errorf("lifeline: %w; the end of standard output takes its place", lost)
	}
	if lost != nil {
		lost = fmt.Errorf("lifeline: %w; it was opened anew in the host's process", lost)
	}
	l.Reader = pipe
	err := errors.Join(lost, resumeAtEnd(pipe), holdLeash(t, l.group))
	unbindFromParent()
	return l, err
}

// inheritOrReopen returns a pipe. With an error it was not inherited, and is nil if
// there is no other way to it.
func (d Descriptor) inheritOrReopen(host int) (*os.File, error) {
	f, err := d.Inherit()
	if err != nil {
		return reopen(host, d.ID), err
	}
	return f, nil
}

// KillGroup ends the process group that the host has made, whose leader may be a
// script that started this process, and this process. It does not return.
func (l *Lifeline) KillGroup() {
	_ = unix.Kill(-l.group, unix.SIGKILL)
	killSelf()
}

// killSelf ends this process. The first process of a PID namespace, as of a container,
// cannot send itself a signal that ends it, but can exit.
func killSelf() {
	_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
	unix.Exit(killedExitCode)
}

// killedExitCode is the one by which shells tell of SIGKILL.
const killedExitCode = 128 + int(unix.SIGKILL)
