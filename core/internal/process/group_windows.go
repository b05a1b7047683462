package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"unsafe"

	"golang.org/x/sys/windows"
)

// LifelineSupported reports whether a process can inherit a lifeline.
const LifelineSupported = false

// group is a Job object that holds the plugin and the processes that it starts. Windows ends
// them all when the last handle of the object is closed, at the latest when this process
// ends. A process that the plugin starts before it is assigned to the job, in the first
// moments of its life, stays outside.
type group struct {
	job windows.Handle
}

// killedExitCode is the exit code of a group that was killed.
const killedExitCode = 1

func newGroup(*exec.Cmd, bool) (*group, error) {
	job, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, fmt.Errorf("create job object: %w", err)
	}
	info := windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION{
		BasicLimitInformation: windows.JOBOBJECT_BASIC_LIMIT_INFORMATION{
			LimitFlags: windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE,
		},
	}
	_, err = windows.SetInformationJobObject(job, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info)))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("set up job object: %w", err), windows.CloseHandle(job))
	}
	return &group{job: job}, nil
}

func (g *group) started(p *os.Process) error {
	handle, err := windows.OpenProcess(windows.PROCESS_SET_QUOTA|windows.PROCESS_TERMINATE, false, uint32(p.Pid))
	if err != nil {
		return fmt.Errorf("open the plugin's process: %w", err)
	}
	err = windows.AssignProcessToJobObject(g.job, handle)
	return errors.Join(err, windows.CloseHandle(handle))
}

func (g *group) terminate() error { return errors.ErrUnsupported }

func (g *group) quit() error { return errors.ErrUnsupported }

func (g *group) kill() error { return windows.TerminateJobObject(g.job, killedExitCode) }

func (g *group) close() { _ = windows.CloseHandle(g.job) }

func (g *group) wait(reap func() error) error {
	err := reap()
	return errors.Join(err, g.kill())
}
