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

// The options of plugwire/options.proto. Their Go code is in core, and this module does
// not depend on core, so it decodes the wire format itself.
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

// maxNameLen is the limit of core/protocol.
const maxNameLen = 256

var (
	// validName matches what core/protocol accepts.
	validName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]*$`)

	// versioned matches a package with a version as its last element.
	versioned = regexp.MustCompile(`^(.+)\.v([1-9][0-9]*)$`)
)

// An Identity is the name and the version of a protocol, on which host and plugin must
// agree. A field with the zero value is not set.
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

// settings are the values of the options of a service. A field with the zero value is
// not set.
type settings struct {
	Identity
	presence uint64
}

// or returns the settings, with unset fields from other.
func (s settings) or(other settings) settings {
	return settings{
		Identity{cmp.Or(s.Name, other.Name), cmp.Or(s.Version, other.Version)},
		cmp.Or(s.presence, other.presence),
	}
}

// settingsOf returns the settings of a service: each field from its own option, or else
// from its file's option.
func settingsOf(service protoreflect.ServiceDescriptor) (settings, error) {
	own, err := fromOptions(service, serviceOption)
	if err != nil {
		return settings{}, err
	}
	file, err := fromOptions(service.ParentFile(), fileOption)
	return own.or(file), err
}

// IdentityOf returns the protocol of a service: each field from its own option, or else
// from its file's option, or else from its package. A service that is LEFT_OUT has the
// zero value.
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
		return errors.New("the protocol has no name, because the file has no package: add a package, or option (plugwire.file_protocol).name")
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

// fromOptions decodes the option of a file or of a service.
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
		// If a file sets an option field by field, the encoding has a message for each.
		return fields(message, func(number protowire.Number, text []byte, value uint64) error {
			switch number {
			case nameField:
				set.Name = string(text)
			case versionField:
				set.Version = int(int32(value)) //nolint:gosec // the field is an int32
			case presenceField:
				set.presence = value
			default: // a field that a newer version of the options added
			}
			return nil
		})
	})
	return set, err
}

// fields calls visit for each field of an encoded message. The text is that of a string,
// bytes or message; the number is that of a varint. Fields of other types have neither.
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
