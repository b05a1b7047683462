package probe

import (
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The variables of the protocol (docs/protocol.md, section 2).
const (
	EnvVersions   = "PLUGIN_PROTOCOL_VERSIONS"
	EnvMinPort    = "PLUGIN_MIN_PORT"
	EnvMaxPort    = "PLUGIN_MAX_PORT"
	EnvTransports = "PLUGIN_TRANSPORTS"
	EnvClientCert = "PLUGIN_CLIENT_CERT"
	EnvMultiplex  = "PLUGIN_MULTIPLEX_GRPC"
	EnvSocketDir  = "PLUGIN_UNIX_SOCKET_DIR"
	EnvOffer      = "PLUGWIRE_OFFER"
)

// Env is an environment, NAME=VALUE.
type Env []string

// Lookup returns the value of a variable: the last one counts, as it does for Go.
func (e Env) Lookup(name string) (string, bool) {
	for _, entry := range slices.Backward(e) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// Get returns the value of a variable, or nothing.
func (e Env) Get(name string) string {
	value, _ := e.Lookup(name)
	return value
}

// Versions returns the versions that the host offers. Items that are no numbers are
// skipped, as every plugin does.
func (e Env) Versions() []int {
	var versions []int
	for item := range strings.SplitSeq(e.Get(EnvVersions), ",") {
		if v, err := strconv.Atoi(strings.TrimSpace(item)); err == nil && v >= 0 {
			versions = append(versions, v)
		}
	}
	return versions
}

// Offer is the host's offer.
type Offer struct {
	// Plugwire is set if the host has sent an offer of its own form.
	Plugwire bool
	fields   map[string]string
	// Marked are the keys that must be understood.
	Marked []string
}

// The limits of fields (docs/protocol.md, section 3).
const (
	maxFields     = 64
	maxFieldBytes = 65536
)

var fieldKey = regexp.MustCompile(`^!?[a-z0-9-]{1,64}$`)

// ParseOffer reads the environment of a plugin. It is as strict as the page is with writers.
func ParseOffer(env Env) (*Offer, error) {
	text := env.Get(EnvOffer)
	o := &Offer{Plugwire: text != "", fields: map[string]string{}}
	if !o.Plugwire {
		return o, nil
	}
	if len(text) > maxFieldBytes {
		return o, fmt.Errorf("%d bytes: want at most %d", len(text), maxFieldBytes)
	}
	fields := strings.Split(text, "|")
	if len(fields) > maxFields {
		return o, fmt.Errorf("%d fields: want at most %d", len(fields), maxFields)
	}
	for _, field := range fields {
		key, raw, ok := strings.Cut(field, "=")
		if !ok || !fieldKey.MatchString(key) {
			return o, fmt.Errorf("field %q: want KEY=VALUE", field)
		}
		if bare, marked := strings.CutPrefix(key, "!"); marked {
			key = bare
			o.Marked = append(o.Marked, key)
		}
		value, err := unescape(raw)
		if err != nil {
			return o, fmt.Errorf("field %s: %w", key, err)
		}
		if _, twice := o.fields[key]; twice {
			return o, fmt.Errorf("duplicate key %s", key)
		}
		o.fields[key] = value
	}
	if o.Get("instance") == "" {
		return o, errors.New("no instance")
	}
	return o, nil
}

// unescape decodes a value. A byte that should have been escaped is an error.
func unescape(raw string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '%':
			if i+2 >= len(raw) {
				return "", fmt.Errorf("broken escape in %q", raw)
			}
			decoded, err := hex.DecodeString(raw[i+1 : i+3])
			if err != nil {
				return "", fmt.Errorf("broken escape in %q", raw)
			}
			b.Write(decoded)
			i += 2
		case c <= ' ' || c > '~':
			return "", fmt.Errorf("byte %#x is not escaped", c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// Escape encodes a value.
func Escape(value string) string {
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c > '~' || c == '%' || c == '|' {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Get returns the value of a key, or nothing.
func (o *Offer) Get(key string) string { return o.fields[key] }

// Has reports whether a key is there.
func (o *Offer) Has(key string) bool { _, ok := o.fields[key]; return ok }

// List returns the items of a key, or the default where the key is missing.
func (o *Offer) List(key string, missing ...string) []string {
	value, ok := o.fields[key]
	if !ok {
		return missing
	}
	return splitList(value)
}

func splitList(text string) []string {
	var items []string
	for item := range strings.SplitSeq(text, ",") {
		if item = strings.TrimSpace(item); item != "" && !slices.Contains(items, item) {
			items = append(items, item)
		}
	}
	return items
}

// Transports returns the names of the transports that the host offers at version 1, to a
// plugin on Plugwire or a foreign one.
func (o *Offer) Transports(env Env, foreign bool) []string {
	names := splitList(env.Get(EnvTransports))
	if len(names) == 0 {
		names = []string{"unix", "tcp"}
		if !hasUnix {
			names = []string{"tcp"}
		}
	}
	if !o.Plugwire || foreign {
		return names
	}
	var offered []string
	for _, item := range o.List("transports") {
		if name, ok := strings.CutSuffix(item, "/1"); ok {
			offered = append(offered, name)
		}
	}
	if o.Has("transports") {
		return offered
	}
	return names
}
