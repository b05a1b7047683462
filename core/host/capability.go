package host

// FilePasser is a [Runner] that may pass files on. See [Runner].
type FilePasser interface {
	// PassesFiles reports whether the plugin inherits Stdin and the ExtraFiles of the
	// command, under the numbers that [os/exec.Cmd] gives them.
	PassesFiles() bool
}

// PathRunner is a [Runner] that may run the command's own program. See [Runner].
type PathRunner interface {
	// RunsPath reports whether the plugin is the file at the command's Path, as this
	// process sees it when Start is called. A program that starts the plugin, such as
	// nice, may run before the plugin.
	RunsPath() bool
}

// CredentialKeeper is a [Runner] that knows whether peer credentials hold. See [Runner].
type CredentialKeeper interface {
	// KeepsCredentials reports whether the kernel shows each side the other's user: the
	// plugin's to the host as the command names it, the host's to the plugin as the
	// plugin sees itself. Across machines the kernel does not, nor in a container that
	// has users of its own.
	KeepsCredentials() bool
}

// Wrapper is a [Runner] that starts plugins by another one. The host asks the wrapped
// runner about each optional interface that the wrapper does not implement.
type Wrapper interface {
	// Unwrap returns the wrapped runner.
	Unwrap() Runner
}

// ProcessWrapper is a [Process] that wraps another one. The host asks the wrapped process
// about each optional interface that the wrapper does not implement.
type ProcessWrapper interface {
	// Unwrap returns the wrapped process.
	Unwrap() Process
}

// maxWrapped bounds the search through wrappers: a wrapper of itself would otherwise
// keep a start busy without an end.
const maxWrapped = 32

// runnerAs returns the outermost runner that implements T.
func runnerAs[T any](r Runner) (found T, ok bool) {
	for range maxWrapped {
		if found, ok = r.(T); ok {
			return found, true
		}
		w, wraps := r.(Wrapper)
		if !wraps {
			break
		}
		r = w.Unwrap()
	}
	return found, false
}

// processAs returns the outermost process that implements T.
func processAs[T any](p Process) (found T, ok bool) {
	for range maxWrapped {
		if found, ok = p.(T); ok {
			return found, true
		}
		w, wraps := p.(ProcessWrapper)
		if !wraps {
			break
		}
		p = w.Unwrap()
	}
	return found, false
}

func passesFiles(r Runner) bool {
	p, ok := runnerAs[FilePasser](r)
	return ok && p.PassesFiles()
}

func runsPath(r Runner) bool {
	p, ok := runnerAs[PathRunner](r)
	return ok && p.RunsPath()
}

func keepsCredentials(r Runner) bool {
	k, ok := runnerAs[CredentialKeeper](r)
	return !ok || k.KeepsCredentials()
}
