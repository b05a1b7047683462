package supervise

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

const (
	// buildTimeout bounds a build. It is several times what a large program takes when
	// nothing is cached.
	buildTimeout = 15 * time.Minute
	// buildOutputGrace is how long the output of a build is read after its process has
	// ended, in case it has left another process that holds the output.
	buildOutputGrace = time.Second
	// maxBuildOutput is how much of the output of a build is kept at each end, in bytes.
	// Compilers print the first error first; other tools print the reason last.
	maxBuildOutput = 8 << 10
)

// BuildError is why a build command has not built a program.
type BuildError struct {
	// Command is the command line.
	Command string
	// Output is what the command has printed: the beginning and the end if it is long.
	Output string
	// Err is how the command ended, or why it did not start.
	Err error
}

// Error has the output.
func (e *BuildError) Error() string {
	text := fmt.Sprintf("build with %s: %v", e.Command, e.Err)
	if e.Output != "" {
		text += "\n" + e.Output
	}
	return text
}

// Unwrap returns Err.
func (e *BuildError) Unwrap() error { return e.Err }

// runBuild runs the command once.
func runBuild(ctx context.Context, template *exec.Cmd) error {
	ctx, cancel := context.WithTimeoutCause(ctx, buildTimeout, fmt.Errorf("it was not done within %v", buildTimeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, template.Path) //nolint:gosec // the command is the user's
	cmd.Args, cmd.Env, cmd.Dir, cmd.Err = template.Args, template.Env, template.Dir, template.Err
	var output ends
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = buildOutputGrace
	endWithChildren(cmd)
	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) { // a process that it has left holds the output
		return nil
	}
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("%w: %w", err, cause)
	}
	return &BuildError{Command: strings.Join(template.Args, " "), Output: output.String(), Err: err}
}

// ends keeps the beginning and the end of what is written to it. exec.Cmd writes from one
// goroutine, because both outputs are the same writer.
type ends struct {
	head, tail []byte
	dropped    int // bytes between head and tail
}

func (e *ends) Write(p []byte) (int, error) {
	written := len(p)
	n := min(len(p), maxBuildOutput-len(e.head))
	e.head, p = append(e.head, p[:n]...), p[n:]
	e.tail = append(e.tail, p...)
	if over := len(e.tail) - maxBuildOutput; over > 0 {
		e.dropped += over
		e.tail = append(e.tail[:0], e.tail[over:]...)
	}
	return written, nil
}

func (e *ends) String() string {
	text := string(e.head)
	if e.dropped > 0 {
		text += fmt.Sprintf("\n... %d bytes ...\n", e.dropped)
	}
	return strings.TrimRight(text+string(e.tail), "\n")
}
