package breaking

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// message compares a message with what it is now.
func (c *comparison) message(was, is protoreflect.MessageDescriptor) {
	fields := was.Fields()
	for i := range fields.Len() {
		c.field(fields.Get(i), is)
	}
	fields = is.Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if f.Cardinality() == protoreflect.Required && was.Fields().ByNumber(f.Number()) == nil {
			c.found(f, "field %s: new and required", f.FullName())
		}
	}
}

func (c *comparison) field(was protoreflect.FieldDescriptor, message protoreflect.MessageDescriptor) {
	is := message.Fields().ByName(was.Name())
	if is != nil && is.Number() != was.Number() {
		c.found(is, "field %s: number was %d, is %d", is.FullName(), was.Number(), is.Number())
		return
	}
	if is = message.Fields().ByNumber(was.Number()); is == nil {
		if !message.ReservedRanges().Has(was.Number()) {
			c.found(message, "field %s: removed, and its number can be used again: add reserved %d;", was.FullName(), was.Number())
		}
		return
	}
	if before, now := typeOf(was), typeOf(is); before != now {
		c.found(is, "field %s: type was %s, is %s", is.FullName(), before, now)
	}
	if before, now := inOneof(was), inOneof(is); before != now {
		state := map[bool]string{true: "in a oneof", false: "in none"}
		c.found(is, "field %s: was %s, is %s", is.FullName(), state[before], state[now])
	}
}

// typeOf returns a field's type as in a .proto file, with its label where that
// is seen on the wire.
func typeOf(f protoreflect.FieldDescriptor) string {
	if f.IsMap() {
		return "map<" + typeOf(f.MapKey()) + ", " + typeOf(f.MapValue()) + ">"
	}
	name := f.Kind().String()
	switch {
	case f.Kind() == protoreflect.GroupKind:
		name += " " + string(f.Message().FullName())
	case f.Message() != nil:
		name = string(f.Message().FullName())
	case f.Enum() != nil:
		name = string(f.Enum().FullName())
	}
	if f.Cardinality() == protoreflect.Optional {
		return name
	}
	return f.Cardinality().String() + " " + name
}

func inOneof(f protoreflect.FieldDescriptor) bool {
	return f.ContainingOneof() != nil && !f.ContainingOneof().IsSynthetic()
}

// enum compares an enum with what it is now.
func (c *comparison) enum(was, is protoreflect.EnumDescriptor) {
	values := was.Values()
	for i := range values.Len() {
		v := values.Get(i)
		switch same := is.Values().ByName(v.Name()); {
		case same != nil && same.Number() != v.Number():
			c.found(same, "value %s: number was %d, is %d", same.FullName(), v.Number(), same.Number())
		case is.Values().ByNumber(v.Number()) == nil && !is.ReservedRanges().Has(v.Number()):
			c.found(is, "value %s: removed, and its number can be used again: add reserved %d;", v.FullName(), v.Number())
		}
	}
}
