package host

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/plugwire/plugwire/core/internal/logs"
)

// maxName bounds the name of a plugin, in bytes. Most systems have the same bound for
// the name of a file.
const maxName = 255

// WithName sets the name by which this host tells the plugin from its other plugins.
// Every log record and every error about the plugin has the name, and [Plugin.Name]
// returns it. Interceptors get a *grpc.ClientConn whose CanonicalTarget ends with the
// name; its Target has the name escaped as in a URL. The name may be the key of an
// entry in the environment variable PLUGWIRE_ATTACH. The default is the base name of
// the program without ".exe", and for [Attach] the protocol's name.
//
// A name is up to 255 bytes of visible UTF-8 text, which may have blanks inside.
// Several plugins may share a name: then only their processes tell them apart.
func WithName(name string) Option {
	return optionFunc(func(cfg *config) error {
		if err := checkName(name); err != nil {
			return fmt.Errorf("host.WithName(%.64q): %w", name, err)
		}
		cfg.name = name
		return nil
	})
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("the name is empty")
	case len(name) > maxName:
		return fmt.Errorf("the name is %d bytes long, at most %d are allowed", len(name), maxName)
	case strings.TrimSpace(name) != name:
		return errors.New("the name begins or ends with a blank")
	case logs.OneLine(name) != name:
		return errors.New("the name has characters that cannot be seen, or is not UTF-8")
	default:
		return nil
	}
}

// programName returns the default name of a plugin.
func programName(cmd *exec.Cmd) string {
	if cmd == nil {
		return ""
	}
	return logs.OneLine(strings.TrimSuffix(filepath.Base(cmd.Path), ".exe"))
}

// label returns what errors call a plugin. That is its command, after its name if the
// name is not the program's, and its process if there is one.
func label(name, command, process string) string {
	var details []string
	text := command
	if name != "" && !hasWord(command, name) {
		text = name
		details = append(details, command)
	}
	if process != "" {
		details = append(details, "process "+process)
	}
	if len(details) == 0 {
		return text
	}
	return text + " (" + strings.Join(details, ", ") + ")"
}

// hasWord reports whether name is a word of a command, as the name of its program is.
func hasWord(command, name string) bool {
	for from := 0; ; {
		i := strings.Index(command[from:], name)
		if i < 0 {
			return false
		}
		begin := from + i
		after := strings.TrimPrefix(command[begin+len(name):], ".exe")
		if (begin == 0 || strings.IndexByte(`/\ `, command[begin-1]) >= 0) && (after == "" || after[0] == ' ') {
			return true
		}
		from = begin + 1
	}
}
