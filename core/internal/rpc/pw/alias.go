package pw

import (
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// minAlias is the size from which a field of bytes is not copied out of a large message.
const minAlias = 32 << 10

// unmarshalLarge is proto.Unmarshal, but fields of many bytes of m share the memory of b,
// which becomes the message's.
func unmarshalLarge(b []byte, m proto.Message) error {
	proto.Reset(m)
	if err := mergeLarge(b, m.ProtoReflect()); err != nil {
		return err
	}
	return proto.CheckInitialized(m)
}

// mergeLarge decodes b into m, which is new. Required fields may be absent.
func mergeLarge(b []byte, m protoreflect.Message) error {
	large, fd := onlyLarge(b, m.Descriptor())
	options := proto.UnmarshalOptions{Merge: true, AllowPartial: true}
	if fd == nil {
		return options.Unmarshal(b, m.Interface())
	}
	content, _ := protowire.ConsumeBytes(b[large.value:]) // onlyLarge has seen it
	rest := make([]byte, 0, len(b)-(large.end-large.begin))
	rest = append(append(rest, b[:large.begin]...), b[large.end:]...)
	if err := options.Unmarshal(rest, m.Interface()); err != nil {
		return err
	}
	if fd.Kind() == protoreflect.BytesKind {
		m.Set(fd, protoreflect.ValueOfBytes(slices.Clip(content)))
		return nil
	}
	return mergeLarge(content, m.Mutable(fd).Message())
}

// place is where a field is in a message: its tag, its value, and its end.
type place struct{ begin, value, end int }

// onlyLarge returns the field of b that is large, if there is one such field, which comes
// once, and whose order among the others does not matter. It is at least half of b, because it
// keeps all of b in memory.
func onlyLarge(b []byte, d protoreflect.MessageDescriptor) (place, protoreflect.FieldDescriptor) {
	var found place
	var number protowire.Number
	for at := 0; at < len(b); {
		n, kind, tag := protowire.ConsumeTag(b[at:])
		if tag < 0 {
			return place{}, nil
		}
		size := protowire.ConsumeFieldValue(n, kind, b[at+tag:])
		if size < 0 {
			return place{}, nil
		}
		switch {
		case n == number: // a duplicate
			return place{}, nil
		case kind == protowire.BytesType && size >= minAlias && number == 0:
			found, number = place{at, at + tag, at + tag + size}, n
		}
		at += tag + size
	}
	if number == 0 || found.end-found.value < len(b)/2 || countOf(b, number) != 1 {
		return place{}, nil
	}
	fd := d.Fields().ByNumber(number)
	if fd == nil || fd.IsList() || fd.IsMap() || fd.ContainingOneof() != nil && !fd.HasOptionalKeyword() ||
		fd.Kind() != protoreflect.BytesKind && fd.Kind() != protoreflect.MessageKind {
		return place{}, nil
	}
	return found, fd
}

// countOf returns how often a field is in b.
func countOf(b []byte, number protowire.Number) (count int) {
	for len(b) > 0 {
		n, kind, tag := protowire.ConsumeTag(b)
		if n == number {
			count++
		}
		b = b[tag+protowire.ConsumeFieldValue(n, kind, b[tag:]):]
	}
	return count
}
