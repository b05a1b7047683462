package negotiation

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Limits of the extended fields, in the offer and in the answer.
const (
	// maxFieldsLen bounds the text of all fields together. The text must fit into an
	// environment variable (128 KiB on Linux) and into one line that the other side
	// buffers.
	maxFieldsLen = 64 << 10
	// maxFields bounds how many fields there are; about ten are in use.
	maxFields = 64
	// maxItems bounds a list. No side has a reason to offer more choices.
	maxItems = 64
)

// fields are key=value pairs in the order in which they were written.
type fields []field

type field struct {
	key, value string
	must       bool // marked with '!': the reader must understand the key
}

func (f fields) with(key, value string) fields { return append(f, field{key: key, value: value}) }

// withNonempty is for a field whose absence means the same as an empty value.
func (f fields) withNonempty(key, value string) fields {
	if value == "" {
		return f
	}
	return f.with(key, value)
}

func (f fields) get(key string) (string, bool) {
	for _, x := range f {
		if x.key == key {
			return x.value, true
		}
	}
	return "", false
}

// getOr returns the value of key, or def when the key is missing.
func (f fields) getOr(key, def string) string {
	if value, ok := f.get(key); ok {
		return value
	}
	return def
}

// list returns the items of a list, or def when the key is missing.
func (f fields) list(key string, def ...string) []string {
	value, ok := f.get(key)
	if !ok {
		return def
	}
	return splitList(value)
}

// splitList returns the items of a comma-separated list without the spaces
// around them, and without empty and repeated items.
func splitList(s string) []string {
	var items []string
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		if item != "" && len(items) < maxItems && !slices.Contains(items, item) {
			items = append(items, item)
		}
	}
	return items
}

// String joins the fields with '|', values percent-encoded.
func (f fields) String() string {
	parts := make([]string, len(f))
	for i, x := range f {
		parts[i] = x.key + "=" + encode(x.value)
		if x.must {
			parts[i] = "!" + parts[i]
		}
	}
	return strings.Join(parts, "|")
}

// parseFields parses what [fields.String] writes. The error is the first mistake. The
// well-formed fields are returned with it, because one of them may tell where an answer
// goes.
func parseFields(s string) (fields, error) {
	if len(s) > maxFieldsLen {
		return nil, fmt.Errorf("%d bytes long, at most %d are allowed", len(s), maxFieldsLen)
	}
	if s == "" {
		return nil, nil
	}
	var f fields
	var mistake error
	for part := range strings.SplitSeq(s, "|") {
		x, err := parseField(part)
		if err == nil {
			if _, dup := f.get(x.key); dup {
				err = fmt.Errorf("duplicate key %s", x.key)
			} else if len(f) == maxFields {
				err = fmt.Errorf("more than %d fields", maxFields)
			}
		}
		if err != nil {
			mistake = cmp.Or(mistake, err)
			continue
		}
		f = append(f, x)
	}
	return f, mistake
}

func parseField(s string) (field, error) {
	key, raw, ok := strings.Cut(s, "=")
	key, must := strings.CutPrefix(key, "!")
	if !ok || !validKey(key) {
		return field{}, fmt.Errorf("field %.64q is not of the form key=value", s)
	}
	value, err := decode(raw)
	if err != nil {
		return field{}, fmt.Errorf("field %s: %w", key, err)
	}
	return field{key, value, must}, nil
}

// understood returns an error for a key that the reader must understand and that is not
// in known.
func (f fields) understood(known ...string) error {
	for _, x := range f {
		if x.must && !slices.Contains(known, x.key) {
			return fmt.Errorf("key %s must be understood and is not known here: a newer release is needed", x.key)
		}
	}
	return nil
}

// maxKeyLen bounds a key, because error messages show it.
const maxKeyLen = 64

func validKey(key string) bool {
	if key == "" || len(key) > maxKeyLen {
		return false
	}
	for _, c := range []byte(key) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return false
		}
	}
	return true
}

const hexDigits = "0123456789ABCDEF"

// encode percent-encodes every byte that is not printable ASCII, and '|', '%'
// and the space (RFC 3986 section 2.1, with a smaller set of reserved bytes).
func encode(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c > ' ' && c <= '~' && c != '|' && c != '%' {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hexDigits[c>>4])
		b.WriteByte(hexDigits[c&15])
	}
	return b.String()
}

// decode undoes encode. Bytes that encode would have escaped are taken unchanged.
func decode(s string) (string, error) {
	var b strings.Builder
	for {
		plain, escape, found := strings.Cut(s, "%")
		b.WriteString(plain)
		if !found {
			return b.String(), nil
		}
		if len(escape) < 2 {
			return "", errEscape
		}
		c, err := strconv.ParseUint(escape[:2], 16, 8)
		if err != nil {
			return "", errEscape
		}
		b.WriteByte(byte(c))
		s = escape[2:]
	}
}

var errEscape = errors.New("a percent sign is not followed by two hexadecimal digits")
