package service

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

// violations are the violations of a request. Each method checks one field. err
// then names all wrong fields, so that they can be corrected at once.
type violations []*errdetails.BadRequest_FieldViolation

func (v *violations) addf(field, format string, args ...any) {
	*v = append(*v, &errdetails.BadRequest_FieldViolation{Field: field, Description: field + " " + fmt.Sprintf(format, args...)})
}

// name checks that the field is the name of a user.
func (v *violations) name(field, name string) {
	switch {
	case name == "":
		v.addf(field, "is missing")
	case len(name) > maxName:
		v.addf(field, "has %d bytes, and may have %d", len(name), maxName)
	case !isAlphanumeric(rune(name[0])):
		v.addf(field, "must begin with a letter or digit of ASCII, and begins with %q", firstRune(name))
	default:
		for _, r := range name {
			if !isAlphanumeric(r) && !strings.ContainsRune("._-@", r) {
				v.addf(field, "may have letters and digits of ASCII, and . _ - @, and has %q", r)
				return
			}
		}
	}
}

func isAlphanumeric(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// role checks that the field is one of the roles.
func (v *violations) role(field string, role multi.Role) {
	switch role {
	case multi.Role_ROLE_READER, multi.Role_ROLE_WRITER, multi.Role_ROLE_ADMIN:
	case multi.Role_ROLE_UNSPECIFIED:
		v.addf(field, "is missing: the roles are ROLE_READER, ROLE_WRITER and ROLE_ADMIN")
	default:
		v.addf(field, "is %d, which is none of ROLE_READER, ROLE_WRITER and ROLE_ADMIN", role)
	}
}

// key checks that the field is the key of an entry.
func (v *violations) key(field, key string) {
	if key == "" {
		v.addf(field, "is missing")
		return
	}
	v.prefix(field, key)
}

// prefix checks that the field is the beginning of a key.
func (v *violations) prefix(field, prefix string) {
	switch {
	case len(prefix) > maxKey:
		v.addf(field, "has %d bytes, and may have %d", len(prefix), maxKey)
	case !utf8.ValidString(prefix):
		v.addf(field, "is not UTF-8")
	}
}

func (v *violations) value(field string, value []byte) {
	if len(value) > maxValue {
		v.addf(field, "has %d bytes, and may have %d", len(value), maxValue)
	}
}

// pageSize returns how many entries a page has.
func (v *violations) pageSize(field string, size int32) int {
	switch {
	case size < 0:
		v.addf(field, "must not be negative, and is %d", size)
		return 0
	case size == 0:
		return defaultPageSize
	default:
		return min(int(size), maxPageSize)
	}
}

// pageToken returns the key after which the page begins; it is empty for the
// first page.
func (v *violations) pageToken(field, token, prefix string) string {
	if token == "" {
		return ""
	}
	last, ok := decodePageToken(prefix, token)
	if !ok {
		v.addf(field, "does not belong to a query for this prefix: send the next_page_token of the page before, unchanged")
	}
	return last
}

// err returns nil, or an INVALID_ARGUMENT status whose text is for people and
// whose detail is for programs.
func (v *violations) err() error {
	if len(*v) == 0 {
		return nil
	}
	texts := make([]string, len(*v))
	for i, violation := range *v {
		texts[i] = violation.GetDescription()
	}
	s := status.New(codes.InvalidArgument, strings.Join(texts, "; "))
	detailed, err := s.WithDetails(&errdetails.BadRequest{FieldViolations: *v})
	if err != nil {
		return s.Err() // the text has everything
	}
	return detailed.Err()
}
