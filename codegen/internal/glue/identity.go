package glue

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The options of plugwire/options.proto. Their Go code is in core, which this
// module does not depend on, so they are read from the wire.
const (
	fileOption    = "plugwire.file_protocol"
	serviceOption = "plugwire.service_protocol"

	optionField   = 51741 // the number of both options
	nameField     = 1
	versionField  = 2
	presenceField = 3
)

// Values of plugwire.Protocol.Presence. All others mean REQUIRED, the default.
const (
	optional = 2
	leftOut  = 3
)

// maxNameLen and validName are what core/protocol accepts.
const maxNameLen = 256

var (
	validName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

	// versioned matches a package whose last element is a version.
	versioned = regexp.MustCompile(`^(.+)\.v([1-9][0-9]*)$`)
)

// An Identity is what a host and a plugin have to agree on. A field with the zero
// value is not set.
type Identity struct {
	Name    string
	Version int
}

// String returns "name/version", or "none".
func (id Identity) String() string {
	if id == (Identity{}) {
		return "none"
	}
	return id.Name + "/" + strconv.Itoa(id.Version)
}

// settings are what options say about a service. A field with the zero value is
// not set.
type settings struct {
	Identity
	presence uint64
}

// or returns the settings with what is not set taken from other.
func (s settings) or(other settings) settings {
	return settings{
		Identity{cmp.Or(s.Name, other.Name), cmp.Or(s.Version, other.Version)},
		cmp.Or(s.presence, other.presence),
	}
}

// settingsOf returns what holds for a service: what its own option says, then its
// file's option.
func settingsOf(service protoreflect.ServiceDescriptor) (settings, error) {
	own, err := fromOptions(service, serviceOption)
	if err != nil {
		return settings{}, err
	}
	file, err := fromOptions(service.ParentFile(), fileOption)
	return own.or(file), err
}

// IdentityOf returns the protocol that a service belongs to: what its own option
// says, then its file's option, then its package. The zero value is that of a
// service that is left out.
func IdentityOf(service protoreflect.ServiceDescriptor) (Identity, error) {
	set, err := settingsOf(service)
	if err != nil {
		return Identity{}, err
	}
	return set.identityOf(service)
}

// identityOf returns the protocol of a service with these settings.
func (s settings) identityOf(service protoreflect.ServiceDescriptor) (Identity, error) {
	if s.presence == leftOut {
		return Identity{}, nil
	}
	id := s.or(settings{Identity: fromPackage(string(service.ParentFile().Package()))}).Identity
	return id, id.check()
}

// check returns an error if core refuses the identity.
func (id Identity) check() error {
	switch {
	case id.Name == "":
		return errors.New("a protocol is named by the package, and the file has none: add a package, or option (plugwire.file_protocol).name")
	case len(id.Name) > maxNameLen || !validName.MatchString(id.Name):
		return fmt.Errorf("protocol name %q: want 1 to %d letters, digits, '_', '-' or '.', starting with a letter or '_'", id.Name, maxNameLen)
	case id.Version < 1:
		return fmt.Errorf("protocol %s: version %d: want 1 or higher", id.Name, id.Version)
	}
	return nil
}

// fromPackage splits acme.words.v2 into acme.words and 2.
func fromPackage(name string) Identity {
	if m := versioned.FindStringSubmatch(name); m != nil {
		if version, err := strconv.ParseInt(m[2], 10, 32); err == nil {
			return Identity{Name: m[1], Version: int(version)}
		}
	}
	return Identity{Name: name, Version: 1}
}

// fromOptions reads the option of a file or of a service.
func fromOptions(of protoreflect.Descriptor, option protoreflect.FullName) (settings, error) {
	if !knows(of.ParentFile(), option) {
		return settings{}, nil
	}
	encoded, err := proto.MarshalOptions{Deterministic: true}.Marshal(of.Options())
	if err != nil {
		return settings{}, err
	}
	var set settings
	err = fields(encoded, func(number protowire.Number, message []byte, _ uint64) error {
		if number != optionField {
			return nil
		}
		// An option that is set field by field comes in several pieces.
		return fields(message, func(number protowire.Number, text []byte, value uint64) error {
			switch number {
			case nameField:
				set.Name = string(text)
			case versionField:
				set.Version = int(int32(value)) //nolint:gosec // the field is an int32
			case presenceField:
				set.presence = value
			default: // a field of a newer version of the option
			}
			return nil
		})
	})
	return set, err
}

// fields calls visit for each field of an encoded message that is a string or
// message, or a number.
func fields(encoded []byte, visit func(protowire.Number, []byte, uint64) error) error {
	for len(encoded) > 0 {
		number, kind, n := protowire.ConsumeTag(encoded)
		if n < 0 {
			return protowire.ParseError(n)
		}
		encoded = encoded[n:]
		var text []byte
		var value uint64
		switch kind {
		case protowire.BytesType:
			text, n = protowire.ConsumeBytes(encoded)
		case protowire.VarintType:
			value, n = protowire.ConsumeVarint(encoded)
		default:
			n = protowire.ConsumeFieldValue(number, kind, encoded)
		}
		if n < 0 {
			return protowire.ParseError(n)
		}
		encoded = encoded[n:]
		if err := visit(number, text, value); err != nil {
			return err
		}
	}
	return nil
}
