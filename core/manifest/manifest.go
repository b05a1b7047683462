// Package manifest reads which plugins a host runs from a file, for a [supervise.Group].
//
//	m, err := manifest.LoadLocked("plugins.json", "plugins.lock.json")
//	if err != nil {
//		return err
//	}
//	specs, err := m.Specs([]*protocol.Protocol{wordspb.WordsProtocol}, func(manifest.Plugin) []host.Option {
//		return []host.Option{host.WithTransports(unix.New())}
//	})
//	if err != nil {
//		return err
//	}
//	err = plugins.Apply(ctx, specs...) // at the start, and again when the file has changed
//
// A manifest decides what runs with the rights of the host. Let only users write to it that
// may decide that. A lock file records what a person has accepted, with the checksum of
// each program: [LoadLocked] refuses a manifest that asks for more.
package manifest

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Manifest is a list of plugins.
type Manifest struct {
	// Plugins are in the order of the file.
	Plugins []Plugin

	mode fs.FileMode // of the file
}

// Plugin is an entry of a manifest. It may get more fields.
type Plugin struct {
	// Name is the plugin's name in its group, in logs and in errors.
	Name string
	// Command is the path of the program. Load makes a relative path one that begins at the
	// directory of the manifest. It never searches PATH.
	Command string
	Args    []string
	// Checksum is what the program must have, by [host.WithChecksum]: the name of the hash,
	// a colon and the sum in hexadecimal, "sha256:...". It may be empty.
	Checksum string
	// Protocol is the name of the protocol that the host speaks with the plugin. It may be
	// empty if the host has only one.
	Protocol string
	// Versions are those of the protocol that the host accepts. Empty means all that the
	// host has.
	Versions []int
	// Environment and Inherit are all that the plugin gets as environment: variables with
	// their values, and names of variables of the host.
	Environment map[string]string
	Inherit     []string
	// Optional, Needs, Lazy and Idle are those of [supervise.Spec].
	Optional bool
	Needs    []string
	Lazy     bool
	Idle     time.Duration

	written string // the command as it is in the file
}

// Load reads a manifest. Errors name the file, the line and the plugin.
func Load(path string) (*Manifest, error) {
	return load(path, kindManifest)
}

// maxFile bounds a manifest, in bytes. A manifest of a thousand plugins is near it, and a
// wrong path must not fill the memory.
const maxFile = 1 << 20

func load(path string, k kind) (*Manifest, error) {
	f, info, err := openRegular(path)
	if err != nil {
		return nil, fmt.Errorf("load the %s: %w", k, err)
	}
	defer f.Close() //nolint:errcheck // opened for reading
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("load the %s: %w", k, err)
	case len(data) > maxFile:
		return nil, fmt.Errorf("load the %s: %s is larger than %d bytes", k, path, maxFile)
	}
	plugins, err := decode(data, k)
	if err != nil {
		return nil, fmt.Errorf("load the %s: %s:%w", k, path, err)
	}
	dir, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("load the %s: %w", k, err)
	}
	for i := range plugins {
		p := &plugins[i]
		p.Command = filepath.FromSlash(p.written)
		if !filepath.IsAbs(p.Command) {
			p.Command = filepath.Join(dir, p.Command)
		}
	}
	return &Manifest{Plugins: plugins, mode: info.Mode().Perm()}, nil
}

// openRegular opens a file for reading. It refuses a FIFO before it opens it, because that
// blocks until there is a writer.
func openRegular(path string) (*os.File, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file (%v)", path, info.Mode().Type())
	}
	f, err := os.Open(path) //nolint:gosec // the caller names it
	return f, info, err
}

// revision returns what is the same for two entries only if the plugin need not be
// replaced.
func (p Plugin) revision() string {
	var text bytes.Buffer
	// Quoted, so that no value can look like the end of another.
	fmt.Fprintf(&text, "%q %q %q %q %v %q", p.Command, p.Args, p.Checksum, p.Protocol, p.Versions, p.Inherit)
	for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
		fmt.Fprintf(&text, " %q=%q", name, p.Environment[name])
	}
	sum := sha256.Sum256(text.Bytes())
	return hex.EncodeToString(sum[:])
}

// environ returns the environment of the plugin. It is never nil, which would mean that of
// the host.
func (p Plugin) environ() []string {
	env := make([]string, 0, len(p.Environment)+len(p.Inherit))
	for _, name := range slices.Sorted(maps.Keys(p.Environment)) {
		env = append(env, name+"="+p.Environment[name])
	}
	for _, name := range p.Inherit {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// maxName bounds a name, in bytes, as that of a file on most systems.
const maxName = 255

var (
	errName     = fmt.Errorf("a name has 1 to %d letters, digits, '_', '-' and '.'", maxName)
	errVariable = errors.New("it is not a valid environment variable name")
)

// checkName accepts names that are the same in a log, a file and a shell.
func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") != "" {
		return errName
	}
	return nil
}

// checkVariable accepts names that are printed as they are: a person reads them in a
// [LockError], and a control character could hide a change from that person.
func checkVariable(name string) error {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r == '=' || !unicode.IsPrint(r) }) {
		return errVariable
	}
	return nil
}
