package breaking

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// message compares a message with its present form.
func (c *comparison) message(was, is protoreflect.MessageDescriptor) {
	fields := was.Fields()
	oneofs := make(pairs)
	for i := range fields.Len() {
		c.field(fields.Get(i), is, oneofs)
	}
	fields = is.Fields()
	kept := fieldSpans(is.ReservedRanges())
	for i := range fields.Len() {
		f := fields.Get(i)
		kept = append(kept, span{int64(f.Number()), int64(f.Number()) + 1})
		if was.ReservedRanges().Has(f.Number()) {
			c.found(f, "field %s: number %d was reserved, because older programs use it for another field", f.FullName(), f.Number())
		}
		if f.Cardinality() == protoreflect.Required && was.Fields().ByNumber(f.Number()) == nil {
			c.found(f, "field %s: new and required", f.FullName())
		}
	}
	for _, s := range missing(fieldSpans(was.ReservedRanges()), kept) {
		c.found(is, "message %s: reserved numbers can be used again: add reserved %s;", is.FullName(), s)
	}
}

func (c *comparison) field(was protoreflect.FieldDescriptor, message protoreflect.MessageDescriptor, oneofs pairs) {
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
	switch before, now := oneofOf(was), oneofOf(is); {
	case before != "" && now != "":
		if !oneofs.fit(before, now) {
			c.found(is, "field %s: was in oneof %s, is in %s, with other fields than before", is.FullName(), before, now)
		}
	case before != now:
		state := map[bool]string{true: "in a oneof", false: "in no oneof"}
		c.found(is, "field %s: was %s, is %s", is.FullName(), state[before != ""], state[now != ""])
	}
}

// extension compares an extension with its present form.
func (c *comparison) extension(was, is protoreflect.ExtensionDescriptor) {
	if before, now := was.ContainingMessage().FullName(), is.ContainingMessage().FullName(); before != now {
		c.found(is, "extension %s: extended %s, extends %s", is.FullName(), before, now)
	}
	if was.Number() != is.Number() {
		c.found(is, "extension %s: number was %d, is %d", is.FullName(), was.Number(), is.Number())
	}
	if before, now := typeOf(was), typeOf(is); before != now {
		c.found(is, "extension %s: type was %s, is %s", is.FullName(), before, now)
	}
}

// typeOf returns a field's type as a .proto file spells it. It includes the label
// if the label changes the wire.
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

// oneofOf returns the name of the oneof that a field is in, or an empty name.
func oneofOf(f protoreflect.FieldDescriptor) protoreflect.Name {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return o.Name()
	}
	return ""
}

// pairs maps the former name of each oneof to its present name. A oneof may be
// renamed.
type pairs map[protoreflect.Name]protoreflect.Name

// fit reports whether two oneofs match: the present one has all fields of the former
// one, and no field of another former oneof. Otherwise fields joined or left it.
func (p pairs) fit(before, now protoreflect.Name) bool {
	for b, n := range p {
		if (b == before) != (n == now) {
			return false
		}
	}
	p[before] = now
	return true
}
