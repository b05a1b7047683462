package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// LockError is why [LoadLocked] has refused a manifest: it asks for more than what was
// accepted.
type LockError struct {
	// Manifest and Lock are the paths.
	Manifest, Lock string
	// Changes has a line for each difference that a person has to accept.
	Changes []string
}

// Error lists the changes.
func (e *LockError) Error() string {
	return fmt.Sprintf("the manifest %s has changes that the lock file %s does not accept: %s", e.Manifest, e.Lock, strings.Join(e.Changes, "; "))
}

// LoadLocked reads a manifest and its lock file. It refuses what the lock file does not
// have with a [*LockError]: another plugin, command, argument, checksum or variable, and
// another or a further version of the protocol. It also refuses a required plugin that is
// now optional, or gone. Needs, lazy and idle may change.
//
// Each plugin of the result has the checksum of the lock file, so a program that was
// replaced is not run. [Manifest.Lock] accepts a change.
func LoadLocked(path, lock string) (*Manifest, error) {
	m, err := Load(path)
	if err != nil {
		return nil, err
	}
	accepted, err := load(lock, kindLock)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: accept the manifest first, with Manifest.Lock", err)
	}
	if err != nil {
		return nil, err
	}
	if changes := m.compare(accepted); len(changes) > 0 {
		return nil, &LockError{Manifest: path, Lock: lock, Changes: changes}
	}
	for i := range m.Plugins {
		m.Plugins[i].Checksum = accepted.plugin(m.Plugins[i].Name).Checksum
	}
	return m, nil
}

// plugin returns the entry with the name, or nil.
func (m *Manifest) plugin(name string) *Plugin {
	for i := range m.Plugins {
		if m.Plugins[i].Name == name {
			return &m.Plugins[i]
		}
	}
	return nil
}

// compare returns what the manifest has that was not accepted.
func (m *Manifest) compare(accepted *Manifest) []string {
	var changes []string
	old := make(map[string]Plugin, len(accepted.Plugins))
	for _, p := range accepted.Plugins {
		old[p.Name] = p
	}
	for _, p := range m.Plugins {
		before, ok := old[p.Name]
		delete(old, p.Name)
		if !ok {
			changes = append(changes, fmt.Sprintf("plugin %s is new", p.Name))
			continue
		}
		for _, change := range p.compare(before) {
			changes = append(changes, fmt.Sprintf("plugin %s: %s", p.Name, change))
		}
	}
	for _, p := range accepted.Plugins {
		if _, left := old[p.Name]; left && !p.Optional {
			changes = append(changes, fmt.Sprintf("plugin %s is required and gone", p.Name))
		}
	}
	return changes
}

// compare returns what differs from the entry that was accepted.
func (p Plugin) compare(before Plugin) []string {
	var changes []string
	differs := func(what string, before, after any) {
		changes = append(changes, fmt.Sprintf("%s was %q and is %q", what, before, after))
	}
	if p.written != before.written {
		differs("the command", before.written, p.written)
	}
	if !slices.Equal(p.Args, before.Args) {
		differs("the list of arguments", before.Args, p.Args)
	}
	if p.Checksum != "" && !strings.EqualFold(p.Checksum, before.Checksum) {
		differs("the checksum", before.Checksum, p.Checksum)
	}
	if before.Protocol != "" && p.Protocol != before.Protocol {
		differs("the protocol", before.Protocol, p.Protocol)
	}
	if len(before.Versions) > 0 {
		if len(p.Versions) == 0 {
			changes = append(changes, "all versions of the protocol are accepted now")
		}
		for _, v := range p.Versions {
			if !slices.Contains(before.Versions, v) {
				changes = append(changes, fmt.Sprintf("version %d of the protocol is new", v))
			}
		}
	}
	changes = append(changes, compareVariables(p, before)...)
	if p.Optional && !before.Optional {
		changes = append(changes, "it was required and is optional")
	}
	return changes
}

// compareVariables tells names but no values, which may be secrets.
func compareVariables(p, before Plugin) []string {
	var changes []string
	names := slices.AppendSeq(slices.Collect(maps.Keys(p.Environment)), maps.Keys(before.Environment))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		value, is := p.Environment[name]
		old, was := before.Environment[name]
		switch {
		case !was:
			changes = append(changes, fmt.Sprintf("the variable %s is new", name))
		case !is:
			changes = append(changes, fmt.Sprintf("the variable %s is gone", name))
		case value != old:
			changes = append(changes, fmt.Sprintf("the variable %s has another value", name))
		}
	}
	for _, name := range p.Inherit {
		if !slices.Contains(before.Inherit, name) {
			changes = append(changes, fmt.Sprintf("it inherits the variable %s now", name))
		}
	}
	for _, name := range before.Inherit {
		if !slices.Contains(p.Inherit, name) {
			changes = append(changes, fmt.Sprintf("it does not inherit the variable %s any more", name))
		}
	}
	return changes
}

// Lock accepts the manifest as it is: it writes a lock file for [LoadLocked], with the
// checksum of each program. Call it when a person has seen the manifest, and not before
// each start. A program that does not have the checksum of the manifest is an error. The
// lock file has the permissions of the manifest, because it has the same variables.
func (m *Manifest) Lock(path string) error {
	locked := slices.Clone(m.Plugins)
	for i := range locked {
		p := &locked[i]
		sum, err := checksumOf(p.Command, p.Checksum)
		if err != nil {
			return fmt.Errorf("lock plugin %s: %w", p.Name, err)
		}
		if p.Checksum != "" && !strings.EqualFold(sum, p.Checksum) {
			return fmt.Errorf("lock plugin %s: the manifest has the checksum %s, and the program %s", p.Name, p.Checksum, sum)
		}
		p.Checksum = sum
	}
	data, err := encode(locked, kindLock)
	if err != nil {
		return fmt.Errorf("write the lock file: %w", err)
	}
	if err := replaceFile(path, data, m.mode); err != nil {
		return fmt.Errorf("write the lock file: %w", err)
	}
	return nil
}

// replaceFile writes a file at once: a reader sees the old text or the new one.
func replaceFile(path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(data)
	if err == nil && mode != 0 {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// entry is how a plugin is written. decode reads these names.
type entry struct {
	Name        string            `json:"name"`
	Command     string            `json:"command"`
	Args        []string          `json:"args,omitempty"`
	Checksum    string            `json:"checksum,omitempty"`
	Protocol    string            `json:"protocol,omitempty"`
	Versions    []int             `json:"versions,omitempty"`
	Environment map[string]string `json:"environment,omitempty"`
	Inherit     []string          `json:"inherit,omitempty"`
	Optional    bool              `json:"optional,omitempty"`
	Needs       []string          `json:"needs,omitempty"`
	Lazy        bool              `json:"lazy,omitempty"`
	Idle        string            `json:"idle,omitempty"`
}

// encode writes what decode reads.
func encode(plugins []Plugin, k kind) ([]byte, error) {
	entries := make([]entry, 0, len(plugins))
	for _, p := range plugins {
		e := entry{
			Name: p.Name, Command: p.written, Args: p.Args, Checksum: p.Checksum, Protocol: p.Protocol, Versions: p.Versions,
			Environment: p.Environment, Inherit: p.Inherit, Optional: p.Optional, Needs: p.Needs, Lazy: p.Lazy,
		}
		if e.Command == "" {
			e.Command = p.Command // it was not read from a file
		}
		if p.Idle > 0 {
			e.Idle = p.Idle.String()
		}
		entries = append(entries, e)
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(map[string]any{string(k): version, "plugins": entries}) // "lock" comes before "plugins"
	return text.Bytes(), err
}
