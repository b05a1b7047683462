package protocol

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Family is the versions of one protocol that one side speaks, the highest
// version first.
type Family []*Protocol

// NewFamily returns the family of protocols. It returns an error if there are none,
// if one is not valid, if two have different names, or if two values have the same
// version. The same value may be given more than once.
func NewFamily(protocols ...*Protocol) (Family, error) {
	if len(protocols) == 0 {
		return nil, errors.New("no protocol given")
	}
	family := make(Family, 0, len(protocols))
	for _, p := range protocols {
		if p == nil {
			return nil, errors.New("a protocol is nil")
		}
		if p.err != nil {
			return nil, p.err
		}
		if p.name != protocols[0].name {
			return nil, fmt.Errorf("protocols %s and %s have different names: these have to be versions of one protocol; put further services into the same protocol value", protocols[0], p)
		}
		if slices.ContainsFunc(family, func(q *Protocol) bool { return q.version == p.version && q != p }) {
			return nil, fmt.Errorf("protocol %s is given twice, by two different values", p)
		}
		if !slices.Contains(family, p) {
			family = append(family, p)
		}
	}
	slices.SortFunc(family, func(a, b *Protocol) int { return b.version - a.version })
	return family, nil
}

// Name returns the name that all versions share.
func (f Family) Name() string { return f[0].name }

// Versions returns the versions, the highest first.
func (f Family) Versions() []int {
	versions := make([]int, len(f))
	for i, p := range f {
		versions[i] = p.version
	}
	return versions
}

// Version returns the protocol with the given version, or nil.
func (f Family) Version(version int) *Protocol {
	for _, p := range f {
		if p.version == version {
			return p
		}
	}
	return nil
}

// String returns the name and the versions, for example "name 2, 1".
func (f Family) String() string {
	versions := make([]string, len(f))
	for i, p := range f {
		versions[i] = strconv.Itoa(p.version)
	}
	return f.Name() + " " + strings.Join(versions, ", ")
}
