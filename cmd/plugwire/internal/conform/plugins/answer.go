package plugins

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// answer is the line by which a plugin answers, as section 6 describes it.
type answer struct {
	line             string
	version          int
	network, address string
	cert             *x509.Certificate // nil if there is none
	mux              string
	hasMux           bool
	// extended has the fields of an answer to a Plugwire host; nil if there are none.
	extended map[string]string
	// refusal is the code of a refusal; empty for an answer.
	refusal string
}

// foreign reports whether the plugin knows only go-plugin's part of the protocol.
func (a *answer) foreign() bool { return a.extended == nil }

var (
	networkForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)
	certForm    = regexp.MustCompile(`^[A-Za-z0-9+/]*$`)
)

// maxAddress is the longest address that a host takes.
const maxAddress = 1024

// parseAnswer reads a line strictly. A host may accept more.
func parseAnswer(line string) (*answer, error) {
	parts := strings.Split(line, "|")
	if len(parts) < 6 {
		return nil, fmt.Errorf("it has %d of the 6 fields", len(parts))
	}
	a := &answer{line: line, network: parts[2], address: parts[3]}
	if len(parts) > 6 {
		a.mux, a.hasMux = parts[6], true
	}
	if len(parts) > 7 {
		var err error
		if a.extended, err = parseFields(parts[7:]); err != nil {
			return nil, err
		}
		if code, failed := a.extended["error"]; failed {
			a.refusal, _, _ = strings.Cut(code, ":")
		}
	}
	if parts[0] != "1" {
		return nil, fmt.Errorf("field 1 is %q, not 1", parts[0])
	}
	version, err := strconv.ParseUint(parts[1], 10, 31)
	if err != nil {
		return nil, fmt.Errorf("field 2, the version, is %q, not a decimal number", parts[1])
	}
	a.version = int(version)
	if parts[4] != "grpc" {
		return nil, fmt.Errorf("field 5 is %q, not grpc", parts[4])
	}
	if a.refusal != "" {
		if a.network+a.address+parts[5] != "" {
			return nil, errors.New("a refusal has a network, an address or a certificate")
		}
		return a, nil
	}
	if !networkForm.MatchString(a.network) {
		return nil, fmt.Errorf("field 3, the network, is %q", a.network)
	}
	if a.address == "" || len(a.address) > maxAddress || strings.ContainsFunc(a.address, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
		return nil, fmt.Errorf("field 4, the address, is empty, too long or has control characters: %q", a.address)
	}
	if !certForm.MatchString(parts[5]) {
		return nil, errors.New("field 6 is not base64 with the standard alphabet and without padding")
	}
	if parts[5] != "" {
		der, err := base64.RawStdEncoding.DecodeString(parts[5])
		if err != nil {
			return nil, fmt.Errorf("field 6, the certificate: %w", err)
		}
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			return nil, fmt.Errorf("field 6, the certificate: %w", err)
		}
	}
	return a, nil
}

var (
	keyForm   = regexp.MustCompile(`^!?[a-z0-9-]{1,64}$`)
	valueForm = regexp.MustCompile(`^([!-$&-{}~]|%[0-9A-F]{2})*$`) // printable ASCII without %, | and space, and escapes
	escape    = regexp.MustCompile(`%[0-9A-F]{2}`)
)

// parseFields reads fields as a writer must write them (section 3).
func parseFields(fields []string) (map[string]string, error) {
	found := map[string]string{}
	for _, field := range fields {
		key, value, ok := strings.Cut(field, "=")
		switch {
		case !ok || !keyForm.MatchString(key):
			return nil, fmt.Errorf("%q is not a field of the form key=value", field)
		case !valueForm.MatchString(value):
			return nil, fmt.Errorf("the value of key %s has bytes that are not escaped: %q", key, value)
		}
		key = strings.TrimPrefix(key, "!")
		if _, twice := found[key]; twice {
			return nil, fmt.Errorf("duplicate key %s", key)
		}
		found[key] = escape.ReplaceAllStringFunc(value, func(e string) string {
			b, _ := strconv.ParseUint(e[1:], 16, 8) // the expression has only digits
			return string([]byte{byte(b)})
		})
	}
	return found, nil
}
