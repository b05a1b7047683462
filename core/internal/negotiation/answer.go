package negotiation

import (
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/transport"
)

// An Answer is what a plugin chose. On the wire it is the one line that the plugin
// prints.
type Answer struct {
	// Version is the protocol version.
	Version int
	// Network and Address are where the plugin listens. Network is the
	// transport's name.
	Network, Address string
	// Cert is the DER of the plugin's certificate; nil without mutual TLS.
	Cert []byte
	// Multiplex is the seventh field: "true", "false", or empty for any other text.
	Multiplex string

	// Plugwire is set if the plugin answered a PLUGWIRE_OFFER. Only then the fields below
	// are on the wire. Otherwise they have the values that go-plugin means.
	Plugwire bool
	// Transport is the chosen version of the transport.
	Transport transport.ID
	// Session, Wire and Security are each one of the offer's.
	Session, Wire, Security string
	// Transports are the plugin's transports, if it names them. A connection that the
	// broker makes needs one that both sides have. A plugin names them if Transport is not
	// one of the broker's own, unix and tcp.
	Transports []transport.ID
	// Skipped says, for people, why the plugin took none of the transports that the host
	// prefers; empty if it took the first that both have.
	Skipped string
	// Ready is set when the plugin has functions to run once the host is connected.
	// The host asks for that, and waits for the end of them, before its start is over.
	Ready bool
	// Preamble is the highest version of the preamble that the plugin reads. 0 means 1.
	Preamble int
	// Protocol is the name of the plugin's protocol.
	Protocol string
	// Instance is the offer's, echoed.
	Instance string
	// Refusal is set if the plugin cannot serve. Then only Version, Protocol and Instance
	// have a meaning beside it. Its Host is not sent.
	Refusal *handshake.Error
}

// Keys of the extended answer, beside protocol and instance.
const (
	keyTransport = "transport"
	keySession   = "session"
	keySkipped   = "skipped"
	keyWire      = "wire"
	keyReady     = "ready"
	keyPreamble  = "preamble"
	keyError     = "error"
	keyOffer     = "offer" // in a refusal, what the plugin has of the thing that failed
	keyHint      = "hint"  // in a refusal, what to do about it
)

// readyAsked is the value of ready: the host calls plugwire.v1.Control/Ready.
const readyAsked = "1"

// rpcGRPC is the fifth field. go-plugin's other value, netrpc, and a missing
// field mean net/rpc.
const rpcGRPC = "grpc"

// extendedFrom is the index of the first field after go-plugin's seven.
const extendedFrom = 7

// maxLegacyData is the length up to which a foreign plugin's sixth field is not a
// certificate but old data of go-plugin (client.go there).
const maxLegacyData = 50

// MaxAnswerLen bounds an answer line. The longest part is a certificate: about 800
// bytes in base64 for the keys in use, and up to a few kilobytes for RSA.
const MaxAnswerLen = 64 << 10

// String returns the line without its newline: go-plugin's six fields, the seventh if
// it is not empty, and the other fields for a Plugwire host.
func (a *Answer) String() string {
	cert := base64.RawStdEncoding.EncodeToString(a.Cert)
	line := []string{strconv.Itoa(CoreVersion), strconv.Itoa(a.Version), a.Network, a.Address, rpcGRPC, cert}
	if a.Multiplex != "" || a.Plugwire {
		line = append(line, a.Multiplex)
	}
	if !a.Plugwire {
		return strings.Join(line, "|")
	}
	var f fields
	f = f.with(keyInstance, a.Instance)
	f = f.withNonempty(keyProtocol, a.Protocol)
	if a.Refusal != nil {
		f = f.with(keyError, string(a.Refusal.Code)+":"+clip(a.Refusal.Reason))
		f = f.withNonempty(keyOffer, clip(a.Refusal.Plugin))
		f = f.withNonempty(keyHint, clip(a.Refusal.Hint))
	} else {
		f = f.with(keyTransport, a.Transport.String())
		f = f.with(keySession, a.Session)
		f = f.with(keyWire, a.Wire)
		f = f.with(keySecurity, a.Security)
		f = f.withNonempty(keyTransports, strings.Join(transportStrings(a.Transports), ","))
		f = f.withNonempty(keySkipped, clip(a.Skipped))
		if a.Ready {
			f = f.with(keyReady, readyAsked)
		}
		if a.Preamble > 1 {
			f = f.with(keyPreamble, strconv.Itoa(a.Preamble))
		}
	}
	return strings.Join(append(line, f.String()), "|")
}

// ErrNoise is returned by [ParseAnswer] for a line that is not an answer: other output
// of the plugin, or of a process that it started.
var ErrNoise = errors.New("not an answer")

// ParseAnswer parses a line that a plugin printed, with or without its line ending.
// instance is the offer's: an extended answer that does not echo it is noise. Any other
// error is a [*handshake.Error], for a line that is an answer but not a valid one.
func ParseAnswer(line, instance string) (*Answer, error) {
	if len(line) > MaxAnswerLen {
		return nil, ErrNoise
	}
	parts := strings.Split(strings.TrimSpace(line), "|")
	if len(parts) < 4 {
		return nil, ErrNoise
	}
	core, coreOK := parseNumber(parts[0])
	version, versionOK := parseNumber(parts[1])
	if !coreOK || !versionOK {
		return nil, ErrNoise
	}
	if core != CoreVersion {
		return nil, &handshake.Error{Code: handshake.CodeCore, Reason: fmt.Sprintf("the plugin's answer has version %d, and this host knows only version %d", core, CoreVersion)}
	}
	a := &Answer{Version: version, Network: parts[2], Address: parts[3]}
	if len(parts) > 6 {
		a.Multiplex = parseMultiplex(parts[6])
	}
	if len(parts) > extendedFrom {
		if err := a.parseExtended(strings.Join(parts[extendedFrom:], "|"), instance); err != nil {
			return nil, err
		}
	}
	if a.Refusal != nil {
		a.Network, a.Address = "", ""
		return a, nil //nolint:nilerr // a refusal is what was parsed, not why parsing failed
	}
	if err := a.parseRPC(parts); err != nil {
		return nil, err
	}
	if err := a.parseCert(parts); err != nil {
		return nil, err
	}
	if !a.Plugwire {
		if err := a.asForeign(); err != nil {
			return nil, err
		}
	}
	if err := transport.CheckAddress(a.Address); err != nil {
		return nil, &handshake.Error{Code: handshake.CodeAnswer, Reason: "the plugin answered with an address that is not valid: " + err.Error()}
	}
	return a, nil
}

func parseNumber(s string) (int, bool) {
	n, err := strconv.Atoi(s)
	return n, err == nil && n >= 0
}

// parseExtended reads the fields after the seventh. Fields that do not follow the
// grammar are ignored, as go-plugin's hosts do.
func (a *Answer) parseExtended(text, instance string) error {
	f, mistake := parseFields(text)
	echo, ok := f.get(keyInstance)
	switch {
	case !ok && !ours(f):
		return nil
	case echo != instance || instance == "":
		return ErrNoise
	case mistake == nil:
		mistake = f.understood(keyInstance, keyProtocol, keyTransport, keySession, keyWire, keySecurity, keyTransports, keySkipped, keyReady, keyPreamble, keyError, keyOffer, keyHint)
	}
	if mistake != nil {
		return &handshake.Error{Code: handshake.CodeAnswer, Reason: "the plugin's answer is not valid: " + mistake.Error()}
	}
	a.Plugwire = true
	a.Instance = echo
	a.Protocol, _ = f.get(keyProtocol)
	if text, ok := f.get(keyError); ok {
		a.Refusal = parseRefusal(text, f)
		return nil
	}
	a.Session = f.getOr(keySession, handshake.SessionDirect)
	a.Wire = f.getOr(keyWire, handshake.WireH2)
	a.Security = f.getOr(keySecurity, handshake.SecurityMTLS)
	a.Transports = parseTransports(f.list(keyTransports))
	a.Skipped = oneLine(f.getOr(keySkipped, ""))
	a.Ready = f.getOr(keyReady, "") == readyAsked
	if v, ok := parseNumber(f.getOr(keyPreamble, "")); ok && v > 1 {
		a.Preamble = v
	}
	name := f.getOr(keyTransport, a.Network+"/1")
	id, err := transport.ParseID(name)
	if err != nil || id.Name != a.Network {
		return &handshake.Error{Code: handshake.CodeAnswer, Reason: fmt.Sprintf("the plugin's answer names transport %.64q beside network %.64q", name, a.Network)}
	}
	a.Transport = id
	return nil
}

func parseRefusal(text string, f fields) *handshake.Error {
	code, reason, ok := strings.Cut(text, ":")
	if !ok {
		code, reason = string(handshake.CodeInternal), text
	}
	return &handshake.Error{Code: handshake.Code(code), Reason: reason, Plugin: f.getOr(keyOffer, ""), Hint: f.getOr(keyHint, "")}
}

// ours reports whether f has any key of an extended answer.
func ours(f fields) bool {
	return slices.ContainsFunc(f, func(x field) bool {
		switch x.key {
		case keyProtocol, keyTransport, keySession, keyWire, keySecurity, keyError:
			return true
		}
		return false
	})
}

func parseMultiplex(s string) string {
	mux, err := strconv.ParseBool(strings.TrimSpace(s))
	if err != nil {
		return ""
	}
	return strconv.FormatBool(mux)
}

func (a *Answer) parseRPC(parts []string) error {
	rpc := "netrpc"
	if len(parts) > 4 && parts[4] != "" {
		rpc = parts[4]
	}
	if rpc == rpcGRPC {
		return nil
	}
	return &handshake.Error{
		Code: handshake.CodeWire, Reason: fmt.Sprintf("the plugin speaks %.64q", rpc), Host: rpcGRPC,
		Hint: "rebuild the plugin so that it serves gRPC (in go-plugin: set ServeConfig.GRPCServer)",
	}
}

func (a *Answer) parseCert(parts []string) error {
	if len(parts) <= 5 || parts[5] == "" || (len(parts[5]) <= maxLegacyData && !a.Plugwire) {
		return nil
	}
	der, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(parts[5], "="))
	if err == nil {
		_, err = x509.ParseCertificate(der)
	}
	if err != nil {
		return &handshake.Error{Code: handshake.CodeSecurity, Reason: "the plugin answered with a certificate that does not parse: " + err.Error()}
	}
	a.Cert = der
	return nil
}

// asForeign sets the values that a plugin with only go-plugin's fields means.
func (a *Answer) asForeign() error {
	id, err := transport.ParseID(a.Network + "/1")
	if err != nil {
		return &handshake.Error{Code: handshake.CodeAnswer, Reason: fmt.Sprintf("the plugin's answer names network %.64q, which is not a transport", a.Network)}
	}
	a.Transport = id
	a.Session, a.Wire, a.Security = handshake.SessionDirect, handshake.WireH2, handshake.SecurityNone
	switch {
	case a.Cert != nil:
		a.Security = handshake.SecurityMTLS
	case a.Network == "unix":
		a.Security = handshake.SecurityPeerCred
	}
	return nil
}
