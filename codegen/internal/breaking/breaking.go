// Package breaking finds the changes of .proto files that break programs built
// before them. Begin with [Compare]. It compares what is on the wire, so a field or
// an enum's value may be renamed or added.
package breaking

import (
	"cmp"
	"fmt"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/plugwire/plugwire/codegen/internal/glue"
)

// A Finding is one breaking change.
type Finding struct {
	// File, Line and Column are the place of the changed declaration now. For a
	// removed declaration they are the place of its parent. Line and Column count
	// from 1.
	File         string
	Line, Column int
	Text         string
	// Unstable is the package of the change if the package is unstable and no service
	// of a stable package uses what changed. Otherwise it is empty.
	Unstable string
}

// Compare returns the breaking changes from old to changed, sorted by place.
//
// A service whose protocol has a higher version counts as a new service. Compare
// ignores its methods, and the messages that only such services use. Imported
// messages are compared if one of the other services uses them. The function
// unstable reports which packages may change in any way.
func Compare(old, changed []protoreflect.FileDescriptor, unstable func(protoreflect.FullName) bool) []Finding {
	c := comparison{now: newIndex(changed)}
	before := newIndex(old)
	raised, kept, stable := make(map[protoreflect.FullName]bool), make(map[protoreflect.FullName]bool), make(map[protoreflect.FullName]bool)
	in := func(d protoreflect.Descriptor) {
		c.unstable = ""
		if name := d.ParentFile().Package(); unstable(name) && !stable[d.FullName()] {
			c.unstable = string(name)
		}
	}
	for _, service := range before.services {
		in(service)
		uses := kept
		if c.service(service) {
			uses = raised
		}
		methods := service.Methods()
		for i := range methods.Len() {
			reach(methods.Get(i).Input(), uses)
			reach(methods.Get(i).Output(), uses)
			if c.unstable == "" {
				reach(methods.Get(i).Input(), stable)
				reach(methods.Get(i).Output(), stable)
			}
		}
	}
	matters := func(d protoreflect.Descriptor) bool {
		return kept[d.FullName()] || before.declares(d) && !raised[d.FullName()]
	}
	for name, message := range before.messages {
		if is, ok := c.now.messages[name]; ok && matters(message) {
			in(message)
			c.message(message, is)
		}
	}
	for name, enum := range before.enums {
		if is, ok := c.now.enums[name]; ok && matters(enum) {
			in(enum)
			c.enum(enum, is)
		}
	}
	for name, extension := range before.extensions {
		if is, ok := c.now.extensions[name]; ok && before.declares(extension) {
			in(extension)
			c.extension(extension, is)
		}
	}
	slices.SortFunc(c.findings, ByPlace)
	return c.findings
}

// ByPlace compares findings for sorting.
func ByPlace(a, b Finding) int {
	return cmp.Or(cmp.Compare(a.File, b.File), a.Line-b.Line, a.Column-b.Column, cmp.Compare(a.Text, b.Text))
}

// reach adds the names of a message and of all messages and enums in it.
func reach(m protoreflect.MessageDescriptor, names map[protoreflect.FullName]bool) {
	if names[m.FullName()] {
		return
	}
	names[m.FullName()] = true
	fields := m.Fields()
	for i := range fields.Len() {
		if enum := fields.Get(i).Enum(); enum != nil {
			names[enum.FullName()] = true
		}
		if message := fields.Get(i).Message(); message != nil {
			reach(message, names)
		}
	}
}

// A comparison collects findings.
type comparison struct {
	now      index
	unstable string // package of the declaration that is compared now, if the package is unstable
	findings []Finding
}

// found adds a finding. Its place is that of a descriptor in the changed files.
func (c *comparison) found(at protoreflect.Descriptor, format string, args ...any) {
	file := at.ParentFile()
	place := file.SourceLocations().ByDescriptor(at)
	c.findings = append(c.findings, Finding{
		File: file.Path(), Line: place.StartLine + 1, Column: place.StartColumn + 1,
		Text: fmt.Sprintf(format, args...), Unstable: c.unstable,
	})
}

// service compares a service with its present form, and reports whether its
// protocol has a higher version now.
func (c *comparison) service(was protoreflect.ServiceDescriptor) (raised bool) {
	is, ok := c.now.services[was.FullName()]
	if !ok {
		c.findings = append(c.findings, Finding{File: was.ParentFile().Path(), Line: 1, Column: 1, Text: fmt.Sprintf("service %s: removed", was.FullName()), Unstable: c.unstable})
		return false
	}
	before, beforeErr := glue.IdentityOf(was)
	now, nowErr := glue.IdentityOf(is)
	switch {
	case beforeErr != nil || nowErr != nil: // without a protocol, compare the methods only
	case before.Name == now.Name && before.Version < now.Version:
		return true
	case before != now:
		c.found(is, "service %s: protocol was %s, is %s", is.FullName(), before, now)
	}
	methods := was.Methods()
	for i := range methods.Len() {
		c.method(methods.Get(i), is)
	}
	return false
}

func (c *comparison) method(was protoreflect.MethodDescriptor, service protoreflect.ServiceDescriptor) {
	is := service.Methods().ByName(was.Name())
	if is == nil {
		c.found(service, "method %s: removed", was.FullName())
		return
	}
	if before, now := kind(was), kind(is); before != now {
		c.found(is, "method %s: was %s, is %s", is.FullName(), before, now)
	}
	if before, now := was.Input().FullName(), is.Input().FullName(); before != now {
		c.found(is, "method %s: request was %s, is %s", is.FullName(), before, now)
	}
	if before, now := was.Output().FullName(), is.Output().FullName(); before != now {
		c.found(is, "method %s: response was %s, is %s", is.FullName(), before, now)
	}
}

// kind names a method's kind as core/protocol does.
func kind(m protoreflect.MethodDescriptor) string {
	switch {
	case m.IsStreamingClient() && m.IsStreamingServer():
		return "bidirectional"
	case m.IsStreamingClient():
		return "client-streaming"
	case m.IsStreamingServer():
		return "server-streaming"
	default:
		return "unary"
	}
}
