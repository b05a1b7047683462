package reflection

import (
	"fmt"
	"math"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"
)

func (e *encoder) descriptor(m protoreflect.MessageDescriptor) {
	e.name(1, m.Name())
	for i, fields := 0, m.Fields(); i < fields.Len(); i++ {
		e.message(2, func(e *encoder) { e.field(fields.Get(i)) })
	}
	for i, messages := 0, m.Messages(); i < messages.Len(); i++ {
		e.message(3, func(e *encoder) { e.descriptor(messages.Get(i)) })
	}
	for i, enums := 0, m.Enums(); i < enums.Len(); i++ {
		e.message(4, func(e *encoder) { e.enum(enums.Get(i)) })
	}
	for i, ranges := 0, m.ExtensionRanges(); i < ranges.Len(); i++ {
		r := ranges.Get(i)
		e.message(5, func(e *encoder) {
			e.span(int(r[0]), int(r[1]))
			e.options(3, m.ExtensionRangeOptions(i))
		})
	}
	for i, extensions := 0, m.Extensions(); i < extensions.Len(); i++ {
		e.message(6, func(e *encoder) { e.field(extensions.Get(i)) })
	}
	if m.IsMapEntry() && !isSet(m.Options()) {
		e.message(7, func(e *encoder) { e.flag(7, true) })
	} else {
		e.options(7, m.Options())
	}
	for i, oneofs := 0, m.Oneofs(); i < oneofs.Len(); i++ {
		o := oneofs.Get(i)
		e.message(8, func(e *encoder) {
			e.name(1, o.Name())
			e.options(2, o.Options())
		})
	}
	for i, ranges := 0, m.ReservedRanges(); i < ranges.Len(); i++ {
		r := ranges.Get(i)
		e.message(9, func(e *encoder) { e.span(int(r[0]), int(r[1])) })
	}
	for i, names := 0, m.ReservedNames(); i < names.Len(); i++ {
		e.name(10, names.Get(i))
	}
	e.visibility(11, m)
}

func (e *encoder) field(f protoreflect.FieldDescriptor) {
	e.name(1, f.Name())
	if f.IsExtension() {
		e.fullName(2, f.ContainingMessage())
	}
	e.int(3, int(f.Number()))
	label, kind := f.Cardinality(), f.Kind()
	if f.ParentFile().Syntax() == protoreflect.Editions {
		// Features say so there.
		if label == protoreflect.Required {
			label = protoreflect.Optional
		}
		if kind == protoreflect.GroupKind {
			kind = protoreflect.MessageKind
		}
	}
	e.int(4, int(label))
	e.int(5, int(kind))
	switch {
	case f.Enum() != nil:
		e.fullName(6, f.Enum())
	case f.Message() != nil:
		e.fullName(6, f.Message())
	}
	if f.HasDefault() {
		e.string(7, defaultText(f))
	}
	e.options(8, f.Options())
	if oneof := f.ContainingOneof(); oneof != nil {
		e.int(9, oneof.Index())
	}
	if f.HasJSONName() && !f.IsExtension() { // an extension has none
		e.string(10, f.JSONName())
	}
	e.flag(17, f.ParentFile().Syntax() == protoreflect.Proto3 && f.HasOptionalKeyword())
}

// defaultText returns a default value as descriptor.proto writes it.
func defaultText(f protoreflect.FieldDescriptor) string {
	v := f.Default()
	switch f.Kind() {
	case protoreflect.EnumKind:
		return string(f.DefaultEnumValue().Name())
	case protoreflect.BytesKind:
		return escape(v.Bytes())
	case protoreflect.FloatKind:
		return float(v.Float(), 32)
	case protoreflect.DoubleKind:
		return float(v.Float(), 64)
	default:
		return v.String()
	}
}

func float(f float64, bits int) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	default:
		return strconv.FormatFloat(f, 'g', -1, bits)
	}
}

// escape writes bytes as C does.
func escape(b []byte) string {
	var s []byte
	for _, c := range b {
		switch c {
		case '\n':
			s = append(s, `\n`...)
		case '\r':
			s = append(s, `\r`...)
		case '\t':
			s = append(s, `\t`...)
		case '"', '\'', '\\':
			s = append(s, '\\', c)
		default:
			if c >= 0x20 && c < 0x7f {
				s = append(s, c)
			} else {
				s = fmt.Appendf(s, `\%03o`, c)
			}
		}
	}
	return string(s)
}
