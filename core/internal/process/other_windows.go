package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/windows"
)

// Other is a process that another process has started. As long as the handle is open, no
// other process gets its number. Its methods are safe for concurrent use.
type Other struct {
	started string
	closing windows.Handle // an event

	mu      sync.Mutex // guards the fields below; held while the handle is used, except for waiting
	process windows.Handle
	closed  bool
	waits   sync.WaitGroup
}

// OpenOther opens the process with the given number.
func OpenOther(pid int) (*Other, error) {
	if pid <= 0 {
		return nil, fmt.Errorf("%d is not the number of a process", pid)
	}
	const access = windows.SYNCHRONIZE | windows.PROCESS_QUERY_LIMITED_INFORMATION | windows.PROCESS_TERMINATE
	process, err := windows.OpenProcess(access, false, uint32(pid)) //nolint:gosec // it is positive
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	started, err := creationTime(process)
	if err != nil {
		return nil, errors.Join(err, windows.CloseHandle(process))
	}
	closing, err := windows.CreateEvent(nil, 1, 0, nil)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("create event: %w", err), windows.CloseHandle(process))
	}
	return &Other{started: started, closing: closing, process: process}, nil
}

// Started identifies the process among all that have, had or will have its number.
func (o *Other) Started() string { return o.started }

// Wait returns nil when the process has ended, and [os.ErrClosed] after Close.
func (o *Other) Wait() error {
	o.mu.Lock()
	if o.closed {
		o.mu.Unlock()
		return os.ErrClosed
	}
	o.waits.Add(1)
	process := o.process
	o.mu.Unlock()
	defer o.waits.Done()
	event, err := windows.WaitForMultipleObjects([]windows.Handle{process, o.closing}, false, windows.INFINITE)
	switch {
	case err != nil:
		return fmt.Errorf("wait for a process: %w", err)
	case event == windows.WAIT_OBJECT_0:
		return nil
	default:
		return os.ErrClosed
	}
}

// Terminate is not supported: Windows has no request to end for a process.
func (o *Other) Terminate() error { return errors.ErrUnsupported }

// Kill ends the process.
func (o *Other) Kill() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return os.ErrClosed
	}
	return windows.TerminateProcess(o.process, killedExitCode)
}

// Close ends each Wait. It does nothing to the process.
func (o *Other) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	o.closed = true
	err := windows.SetEvent(o.closing)
	o.waits.Wait()
	return errors.Join(err, windows.CloseHandle(o.process), windows.CloseHandle(o.closing))
}

// StartTime returns when a process was started, as a text for comparison only.
func StartTime(pid int) (string, error) {
	o, err := OpenOther(pid)
	if err != nil {
		return "", err
	}
	return o.started, o.Close()
}

func creationTime(process windows.Handle) (string, error) {
	var creation, exit, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(process, &creation, &exit, &kernel, &user); err != nil {
		return "", fmt.Errorf("times of a process: %w", err)
	}
	return strconv.FormatInt(creation.Nanoseconds(), 10), nil
}
