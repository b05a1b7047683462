package glue

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Options are the parameters of the generator.
type Options struct {
	// Protocols maps the name of a file in protobuf's registry to the protocol of all its
	// services. It overrides the file, because users cannot edit other people's files.
	Protocols map[string]Identity
}

// Add adds a protocol from the value of a flag, FILE=NAME/VERSION.
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

// Set sets a parameter of the generator. It has the form that protogen needs.
func (o *Options) Set(name, value string) error {
	if name != "protocol" {
		return fmt.Errorf("unknown parameter %q", name)
	}
	return o.Add(value)
}

// cutLast is like strings.Cut, and cuts at the last separator.
func cutLast(text, separator string) (before, after string, ok bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}

// settingsOf returns the settings of a service. The options override those in its file.
func (o *Options) settingsOf(service protoreflect.ServiceDescriptor) (settings, error) {
	set, err := settingsOf(service)
	if id, ok := o.Protocols[service.ParentFile().Path()]; ok {
		set.Identity = id
	}
	return set, err
}
