package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// kind is what a file is. Its first field says so, with the version of the format.
type kind string

const (
	kindManifest kind = "manifest"
	kindLock     kind = "lock"
)

// version is that of both formats.
const version = 1

// decode reads the text of a manifest or of a lock file. It is strict: a field that is
// unknown, duplicate or of another type is an error that names the place. encoding/json
// alone would accept names in other cases and keep the last of two equal fields.
func decode(data []byte, k kind) ([]Plugin, error) {
	if !utf8.Valid(data) {
		return nil, errors.New(" it is not UTF-8 text")
	}
	d := &decoder{data: data, json: json.NewDecoder(bytes.NewReader(data)), kind: k}
	d.json.UseNumber()
	plugins, err := d.file()
	if err != nil {
		line, column := d.position()
		return nil, fmt.Errorf("%d:%d: %w", line, column, err)
	}
	return plugins, nil
}

// decoder reads a file token by token.
type decoder struct {
	data  []byte
	json  *json.Decoder
	kind  kind
	start int // where the last token begins
}

// position returns the line and the column of the last token.
func (d *decoder) position() (line, column int) {
	before := d.data[:d.start]
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:]) + 1
}

// token returns the next token.
func (d *decoder) token() (json.Token, error) {
	d.start = int(d.json.InputOffset())
	for d.start < len(d.data) && strings.IndexByte(" \t\r\n,:", d.data[d.start]) >= 0 {
		d.start++
	}
	t, err := d.json.Token()
	switch syntax := (*json.SyntaxError)(nil); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("the file ends too early")
	case errors.As(err, &syntax):
		return nil, fmt.Errorf("not valid JSON: %w", err)
	}
	return t, err
}

// expect reads one delimiter.
func (d *decoder) expect(delim json.Delim, what string) error {
	t, err := d.token()
	if err == nil && t != delim {
		err = fmt.Errorf("want %s", what)
	}
	return err
}

// field reads the value of a field.
type field func() error

// object reads an object of the given fields. Each is there at most once.
func (d *decoder) object(what string, fields map[string]field) error {
	if err := d.expect('{', what); err != nil {
		return err
	}
	seen := make(map[string]bool)
	for d.json.More() {
		name, err := d.key(seen)
		if err != nil {
			return err
		}
		read := fields[name]
		if read == nil {
			return fmt.Errorf("unknown field %.80q", name)
		}
		if err := read(); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return d.expect('}', "the end of "+what)
}

// key reads a key of an object that is not among those seen.
func (d *decoder) key(seen map[string]bool) (string, error) {
	t, err := d.token()
	if err != nil {
		return "", err
	}
	name, _ := t.(string) // the decoder accepts only a string here
	if seen[name] {
		return "", fmt.Errorf("duplicate field %.80q", name)
	}
	seen[name] = true
	return name, nil
}

// maxElements bounds a list. No host has so many plugins, and no plugin so many arguments.
const maxElements = 4096

// list reads an array whose elements element reads.
func (d *decoder) list(what string, element func() error) error {
	if err := d.expect('[', what); err != nil {
		return err
	}
	for n := 0; d.json.More(); n++ {
		if n == maxElements {
			return fmt.Errorf("a list has at most %d elements", maxElements)
		}
		if err := element(); err != nil {
			return err
		}
	}
	return d.expect(']', "the end of "+what)
}

func (d *decoder) text() (string, error) {
	t, err := d.token()
	if err != nil {
		return "", err
	}
	s, ok := t.(string)
	switch {
	case !ok:
		return "", errors.New("want a string")
	case strings.ContainsRune(s, 0):
		return "", errors.New("it contains a zero byte")
	}
	return s, nil
}

func (d *decoder) number() (int, error) {
	t, err := d.token()
	if err != nil {
		return 0, err
	}
	text, _ := t.(json.Number)
	n, err := strconv.Atoi(string(text))
	if err != nil || n < 1 {
		return 0, errors.New("want a number of at least 1")
	}
	return n, nil
}

// into returns fields that store what they read.
func into[T any](target *T, read func() (T, error)) field {
	return func() (err error) {
		*target, err = read()
		return err
	}
}

// listInto returns a field that stores a list. Each element is there once if once is set.
func listInto[T comparable](d *decoder, target *[]T, what string, once bool, read func() (T, error)) field {
	return func() error {
		return d.list(what, func() error {
			v, err := read()
			if err == nil && once && slices.Contains(*target, v) {
				err = fmt.Errorf("duplicate %v", v)
			}
			*target = append(*target, v)
			return err
		})
	}
}

func (d *decoder) boolean() (bool, error) {
	t, err := d.token()
	if err != nil {
		return false, err
	}
	b, ok := t.(bool)
	if !ok {
		return false, errors.New("want true or false")
	}
	return b, nil
}

func (d *decoder) duration() (time.Duration, error) {
	s, err := d.text()
	if err != nil {
		return 0, err
	}
	v, err := time.ParseDuration(s)
	if err != nil || v < 0 {
		return 0, fmt.Errorf(`%.80q is not a duration such as "10m"`, s)
	}
	return v, nil
}

// checked returns a text that check accepts.
func (d *decoder) checked(check func(string) error) func() (string, error) {
	return func() (string, error) {
		s, err := d.text()
		if err == nil {
			if err = check(s); err != nil {
				err = fmt.Errorf("%.80q: %w", s, err)
			}
		}
		return s, err
	}
}

// file reads the whole file.
func (d *decoder) file() ([]Plugin, error) {
	var plugins []Plugin
	var got int
	names := make(map[string]bool)
	err := d.object("an object", map[string]field{
		string(d.kind): into(&got, d.number),
		"plugins": func() error {
			return d.list("a list of plugins", func() error {
				p, err := d.plugin(names)
				if err != nil {
					return describe(len(plugins), p, err)
				}
				plugins = append(plugins, p)
				return nil
			})
		},
	})
	switch {
	case err != nil:
		return nil, err
	case got == 0:
		return nil, fmt.Errorf("it has no field %q, which is the version of the format: %d", d.kind, version)
	case got != version:
		return nil, fmt.Errorf("the format has version %d, and this release reads version %d", got, version)
	}
	if _, err := d.json.Token(); !errors.Is(err, io.EOF) {
		d.start = int(d.json.InputOffset())
		return nil, errors.New("the file goes on after its end")
	}
	return plugins, nil
}

// describe adds to an error which plugin it is about.
func describe(index int, p Plugin, err error) error {
	if p.Name == "" {
		return fmt.Errorf("plugin number %d: %w", index+1, err)
	}
	return fmt.Errorf("plugin number %d (%s): %w", index+1, p.Name, err)
}

// plugin reads an entry.
func (d *decoder) plugin(names map[string]bool) (p Plugin, err error) {
	err = d.object("an object", map[string]field{
		"name":        into(&p.Name, d.checked(checkName)),
		"command":     into(&p.written, d.text),
		"args":        listInto(d, &p.Args, "a list of strings", false, d.text),
		"checksum":    into(&p.Checksum, d.checked(func(s string) error { _, _, err := parseChecksum(s); return err })),
		"protocol":    into(&p.Protocol, d.checked(checkName)),
		"versions":    listInto(d, &p.Versions, "a list of numbers", true, d.number),
		"environment": func() error { return d.environment(&p) },
		"inherit":     listInto(d, &p.Inherit, "a list of strings", true, d.checked(checkVariable)),
		"optional":    into(&p.Optional, d.boolean),
		"needs":       listInto(d, &p.Needs, "a list of strings", true, d.checked(checkName)),
		"lazy":        into(&p.Lazy, d.boolean),
		"idle":        into(&p.Idle, d.duration),
	})
	if err != nil {
		return p, err
	}
	switch {
	case p.Name == "":
		return p, errors.New("it has no name")
	case names[p.Name]:
		return p, errors.New("duplicate name")
	case p.written == "":
		return p, errors.New("it has no command")
	case d.kind == kindLock && p.Checksum == "":
		return p, errors.New("it has no checksum")
	}
	for _, name := range p.Inherit {
		if _, ok := p.Environment[name]; ok {
			return p, fmt.Errorf("%s is in environment and in inherit", name)
		}
	}
	names[p.Name] = true
	return p, nil
}

// environment reads an object of strings.
func (d *decoder) environment(p *Plugin) error {
	if err := d.expect('{', "an object of strings"); err != nil {
		return err
	}
	p.Environment = make(map[string]string)
	seen := make(map[string]bool)
	for d.json.More() {
		name, err := d.key(seen)
		if err == nil {
			err = checkVariable(name)
		}
		if err != nil {
			return fmt.Errorf("%.80q: %w", name, err)
		}
		if p.Environment[name], err = d.text(); err != nil {
			return fmt.Errorf("%.80q: %w", name, err)
		}
	}
	return d.expect('}', "the end of the environment")
}
