package glue

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Options are what is said outside of the files.
type Options struct {
	// Protocols are the protocols of all services of a file, by its name in
	// protobuf's registry. They replace what the file says, as others' files
	// cannot be edited.
	Protocols map[string]Identity
}

// Add adds a protocol as it is written in a flag: FILE=NAME/VERSION.
func (o *Options) Add(text string) error {
	file, protocol, ok := cutLast(text, "=")
	name, number, hasVersion := cutLast(protocol, "/")
	version, err := strconv.ParseInt(number, 10, 32)
	if !ok || file == "" || !hasVersion || err != nil {
		return fmt.Errorf("%q: want FILE=NAME/VERSION, such as tfplugin6.proto=tfplugin/6", text)
	}
	id := Identity{name, int(version)}
	if err := id.check(); err != nil {
		return err
	}
	if o.Protocols == nil {
		o.Protocols = make(map[string]Identity)
	}
	o.Protocols[file] = id
	return nil
}

// Set sets a parameter of the generator by its name, for protogen.
func (o *Options) Set(name, value string) error {
	if name != "protocol" {
		return fmt.Errorf("unknown parameter %q", name)
	}
	return o.Add(value)
}

// cutLast cuts a text around the last separator.
func cutLast(text, separator string) (before, after string, ok bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

// Generate generates without options: see [Options.Generate].
func Generate(plugin *protogen.Plugin) error { return new(Options).Generate(plugin) }

// settingsOf returns what holds for a service.
func (o *Options) settingsOf(service protoreflect.ServiceDescriptor) (settings, error) {
	set, err := settingsOf(service)
	if id, ok := o.Protocols[service.ParentFile().Path()]; ok {
		set.Identity = id
	}
	return set, err
}
