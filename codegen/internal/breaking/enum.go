package breaking

import "google.golang.org/protobuf/reflect/protoreflect"

// enum compares an enum with its present form.
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
	values = is.Values()
	kept := enumSpans(is.ReservedRanges())
	for i := range values.Len() {
		v := values.Get(i)
		kept = append(kept, span{int64(v.Number()), int64(v.Number()) + 1})
		if was.ReservedRanges().Has(v.Number()) {
			c.found(v, "value %s: number %d was reserved, because older programs use it for another value", v.FullName(), v.Number())
		}
	}
	for _, s := range missing(enumSpans(was.ReservedRanges()), kept) {
		c.found(is, "enum %s: reserved numbers can be used again: add reserved %s;", is.FullName(), s)
	}
}
