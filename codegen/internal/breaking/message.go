package breaking

import (
	"google.golang.org/protobuf/reflect/protoreflect"
)

// message compares a message with what it is now.
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
			c.found(f, "field %s: number %d was reserved, for what older programs use it for", f.FullName(), f.Number())
		}
		if f.Cardinality() == protoreflect.Required && was.Fields().ByNumber(f.Number()) == nil {
			c.found(f, "field %s: new and required", f.FullName())
		}
	}
	for _, s := range missing(fieldSpans(was.ReservedRanges()), kept) {
		c.found(is, "message %s: what was reserved can be used again: add reserved %s;", is.FullName(), s)
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
		state := map[bool]string{true: "in a oneof", false: "in none"}
		c.found(is, "field %s: was %s, is %s", is.FullName(), state[before != ""], state[now != ""])
	}
}

// extension compares a field that is declared outside of its message.
func (c *comparison) extension(was, is protoreflect.ExtensionDescriptor) {
	if before, now := was.ContainingMessage().FullName(), is.ContainingMessage().FullName(); before != now {
		c.found(is, "extension %s: was of %s, is of %s", is.FullName(), before, now)
	}
	if was.Number() != is.Number() {
		c.found(is, "extension %s: number was %d, is %d", is.FullName(), was.Number(), is.Number())
	}
	if before, now := typeOf(was), typeOf(is); before != now {
		c.found(is, "extension %s: type was %s, is %s", is.FullName(), before, now)
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

// oneofOf returns the name of the oneof that a field is in, or nothing.
func oneofOf(f protoreflect.FieldDescriptor) protoreflect.Name {
	if o := f.ContainingOneof(); o != nil && !o.IsSynthetic() {
		return o.Name()
	}
	return ""
}

// pairs are the names of oneofs before and now, which may differ.
type pairs map[protoreflect.Name]protoreflect.Name

// fit reports whether the oneof now is the only one that has fields of the one
// before, and has none of another.
func (p pairs) fit(before, now protoreflect.Name) bool {
	for b, n := range p {
		if (b == before) != (n == now) {
			return false
		}
	}
	p[before] = now
	return true
}
