//go:build unix

package self

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Lifeline notices the end of the host: a Read then ends.
type Lifeline struct {
	io.Reader
	group int // the group that the host has made; this process may move to another
}

// OpenLifeline takes the descriptors by which a plugin notices the end of its host, and
// keeps them from the plugin's own children. It then turns off the parent-death signal,
// which would end the plugin before it could remove its socket.
//
// A program between host and plugin may have closed a descriptor. The error then says which,
// and what the Lifeline watches instead. Where the system allows it, that is the same pipe,
// opened again in the host's process. Otherwise it is standard output, which the host reads
// for as long as it lives. In that case the parent-death signal stays on, and only the host
// holds the leash: nothing else surely ends a plugin that is stopped or stuck.
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
		lost = fmt.Errorf("lifeline: %w; it was opened again in the host's process", lost)
	}
	l.Reader = pipe
	err := errors.Join(lost, resumeAtEnd(pipe), holdLeash(t, l.group))
	unbindFromParent()
	return l, err
}

// inheritOrReopen returns a pipe, nil if it is not available. The error says why the pipe
// was not inherited.
func (d Descriptor) inheritOrReopen(host int) (*os.File, error) {
	f, err := d.Inherit()
	if err != nil {
		return reopen(host, d.ID), err
	}
	return f, nil
}

// KillGroup ends this process and the group that the host has made. The leader of the group
// may be a script that started this process. KillGroup does not return.
func (l *Lifeline) KillGroup() {
	_ = unix.Kill(-l.group, unix.SIGKILL)
	killSelf()
}

// killSelf ends this process. The first process of a PID namespace, as in a container, can
// exit but cannot send itself a signal that ends it.
func killSelf() {
	_ = unix.Kill(unix.Getpid(), unix.SIGKILL)
	unix.Exit(killedExitCode)
}

// killedExitCode is the exit code by which shells report SIGKILL.
const killedExitCode = 128 + int(unix.SIGKILL)
