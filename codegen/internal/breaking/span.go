package breaking

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// A span is the numbers from from up to to, without to.
type span struct{ from, to int64 }

// String returns the span in the syntax of a reserved statement.
func (s span) String() string {
	if s.to == s.from+1 {
		return strconv.FormatInt(s.from, 10)
	}
	return fmt.Sprintf("%d to %d", s.from, s.to-1)
}

func fieldSpans(ranges protoreflect.FieldRanges) []span {
	spans := make([]span, ranges.Len())
	for i := range spans {
		r := ranges.Get(i)
		spans[i] = span{int64(r[0]), int64(r[1])}
	}
	return spans
}

func enumSpans(ranges protoreflect.EnumRanges) []span {
	spans := make([]span, ranges.Len())
	for i := range spans {
		r := ranges.Get(i) // includes its end, unlike a range of fields
		spans[i] = span{int64(r[0]), int64(r[1]) + 1}
	}
	return spans
}

// missing returns the parts of was that no span of is covers.
func missing(was, is []span) []span {
	is = slices.SortedFunc(slices.Values(is), func(a, b span) int { return cmp.Compare(a.from, b.from) })
	var parts []span
	for _, w := range was {
		at := w.from
		for _, s := range is {
			if s.from > at && at < w.to {
				parts = append(parts, span{at, min(s.from, w.to)})
			}
			at = max(at, s.to)
		}
		if at < w.to {
			parts = append(parts, span{at, w.to})
		}
	}
	return parts
}
