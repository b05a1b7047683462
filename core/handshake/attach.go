package handshake

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"unicode/utf8"

	"github.com/plugwire/plugwire/core/transport"
)

// AttachInfo is how a host reaches a plugin that runs already: what the two would
// otherwise have agreed on at the start. Its text is JSON.
//
// HostKey makes the JSON a secret: a program that knows the key can call the plugin.
// Only MarshalJSON shows the key. A printed or logged AttachInfo does not.
type AttachInfo struct {
	// Foreign is set for go-plugin's ReattachConfig, which says less. Transport,
	// Session, Wire and Security are then what go-plugin means.
	Foreign bool

	// Protocol and Version are what the plugin serves. A foreign plugin names no
	// Protocol, and its Version may be 0.
	Protocol string
	Version  int
	// Transport and Address are where the plugin listens.
	Transport transport.ID
	Address   string
	// Session, Wire and Security are constants of this package.
	Session, Wire, Security string
	// Preamble is the highest version of the preamble that the plugin reads. 0 means 1.
	Preamble int
	// Cert is the DER of the plugin's certificate; nil without mutual TLS.
	Cert []byte
	// HostCert (DER) and HostKey (PKCS #8) are the certificate and its key by which the
	// plugin knows its hosts; nil without mutual TLS.
	HostCert, HostKey []byte

	// PID is the number of the plugin's process, 0 if it is not known. Started tells
	// that process from earlier and later ones with the same number, in the system's own
	// form; empty if it is not known.
	PID     int
	Started string
	// Stays is set for a plugin that outlives its hosts: none of them stops it.
	Stays bool
}

// attachVersion is the version of the form.
const attachVersion = 1

// attachForm is AttachInfo in JSON (docs/protocol.md, "Attaching").
type attachForm struct {
	Plugwire  int    `json:"plugwire"`
	Protocol  string `json:"protocol"`
	Version   int    `json:"version"`
	Transport string `json:"transport"`
	Address   string `json:"address"`
	Session   string `json:"session,omitempty"`
	Wire      string `json:"wire,omitempty"`
	Security  string `json:"security"`
	Preamble  int    `json:"preamble,omitempty"`
	Cert      []byte `json:"cert,omitempty"`
	HostCert  []byte `json:"hostcert,omitempty"`
	HostKey   []byte `json:"hostkey,omitempty"`
	PID       int    `json:"pid,omitempty"`
	Started   string `json:"started,omitempty"`
	Stays     bool   `json:"stays,omitempty"`
}

// reattachForm is go-plugin's ReattachConfig as Terraform writes it
// (TF_REATTACH_PROVIDERS).
type reattachForm struct {
	Protocol        string
	ProtocolVersion int
	Pid             int
	Test            bool
	Addr            reattachAddr
}

// protocolGRPC is the only Protocol of a ReattachConfig that Plugwire speaks. The other
// is netrpc.
const protocolGRPC = "grpc"

type reattachAddr struct{ Network, String string }

// MarshalJSON implements [json.Marshaler]. The text holds the key.
func (a AttachInfo) MarshalJSON() ([]byte, error) {
	if !utf8.ValidString(a.Address) {
		return nil, fmt.Errorf("the address %q is not UTF-8, which JSON cannot hold: set XDG_RUNTIME_DIR or TMPDIR of the plugin to another directory", a.Address)
	}
	if a.Foreign {
		return json.Marshal(reattachForm{protocolGRPC, a.Version, a.PID, a.Stays, reattachAddr{a.Transport.Name, a.Address}})
	}
	return json.Marshal(attachForm{
		attachVersion, a.Protocol, a.Version, a.Transport.String(), a.Address, a.Session, a.Wire, a.Security, a.Preamble,
		a.Cert, a.HostCert, a.HostKey, a.PID, a.Started, a.Stays,
	})
}

// UnmarshalJSON implements [json.Unmarshaler]. It takes what MarshalJSON writes, and
// go-plugin's ReattachConfig. An error shows nothing of the text that may be secret.
func (a *AttachInfo) UnmarshalJSON(text []byte) error {
	members, err := parseObject(string(text))
	if err != nil {
		return err
	}
	*a, err = parseAttach(members)
	return err
}

// String returns the JSON without the key.
func (a AttachInfo) String() string {
	a.HostKey = nil
	text, err := a.MarshalJSON()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// GoString implements [fmt.GoStringer].
func (a AttachInfo) GoString() string { return a.String() }

// LogValue implements [slog.LogValuer].
func (a AttachInfo) LogValue() slog.Value { return slog.StringValue(a.String()) }

// maxAttachLen bounds the text of attach information: what fits into one environment
// variable of Linux (128 KiB), with room for several plugins. One entry is about two
// kilobytes with certificates.
const maxAttachLen = 128 << 10

// maxStartedLen bounds the text of the time at which a process was started. Each system
// has its own form of it; the longest has 60 bytes.
const maxStartedLen = 256

// maxProtocolName is the bound of package protocol.
const maxProtocolName = 256

// ParseAttachInfo parses the text of an [AttachInfo], or go-plugin's ReattachConfig in
// JSON. It also takes a map with one such entry, as in PLUGWIRE_ATTACH and
// TF_REATTACH_PROVIDERS. An error shows nothing of the text that may be secret.
func ParseAttachInfo(text string) (AttachInfo, error) {
	members, err := parseObject(text)
	if err != nil {
		return AttachInfo{}, fmt.Errorf("attach info: %w", err)
	}
	info, err := parseAttach(members)
	if len(members) != 1 || !errors.Is(err, errNeitherForm) {
		return info, wrapAttach("attach info", err)
	}
	for name, entry := range members {
		if members, err = parseObject(string(entry)); err == nil {
			info, err = parseAttach(members)
		}
		err = wrapAttach("attach info: entry "+quoteName(name), err)
	}
	return info, err
}

func wrapAttach(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}

func quoteName(name string) string { return fmt.Sprintf("%.64q", name) }

func parseObject(text string) (map[string]json.RawMessage, error) {
	if len(text) > maxAttachLen {
		return nil, fmt.Errorf("%d bytes long, at most %d are allowed", len(text), maxAttachLen)
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", err)
	}
	if members == nil {
		return nil, errors.New("it is not a JSON object: it is null")
	}
	return members, nil
}

var errNeitherForm = errors.New(`it has neither the key "plugwire", as a plugin on Plugwire prints it, nor "Addr", as go-plugin's ReattachConfig`)

func parseAttach(members map[string]json.RawMessage) (AttachInfo, error) {
	var a AttachInfo
	var err error
	switch {
	case members["plugwire"] != nil:
		a, err = parseOwnAttach(members)
	case members["Addr"] != nil:
		a, err = parseReattach(members)
	default:
		err = errNeitherForm
	}
	if err == nil {
		err = a.check()
	}
	if err != nil {
		return AttachInfo{}, err
	}
	return a, nil
}

// decodeMembers reads members into form. An error does not show their values.
func decodeMembers(members map[string]json.RawMessage, form any) error {
	text, err := json.Marshal(members)
	if err != nil {
		return err
	}
	err = json.Unmarshal(text, form)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("key %s is a %s", wrong.Field, wrong.Value)
	}
	if err != nil { // invalid base64, which the error would show
		return errors.New("cert, hostcert or hostkey is not base64")
	}
	return nil
}

func parseOwnAttach(members map[string]json.RawMessage) (AttachInfo, error) {
	var form attachForm
	if err := decodeMembers(members, &form); err != nil {
		return AttachInfo{}, err
	}
	if form.Plugwire != attachVersion {
		return AttachInfo{}, fmt.Errorf("it has version %d, and this host knows only version %d: a newer release is needed", form.Plugwire, attachVersion)
	}
	id, err := transport.ParseID(form.Transport)
	if err != nil {
		return AttachInfo{}, fmt.Errorf("key transport: %w", err)
	}
	if form.Version < 1 || form.Protocol == "" {
		return AttachInfo{}, errors.New("keys protocol and version: a name and a version of 1 or higher must be there")
	}
	return AttachInfo{
		Protocol: form.Protocol, Version: form.Version, Transport: id, Address: form.Address,
		Session: cmp.Or(form.Session, SessionDirect), Wire: cmp.Or(form.Wire, WireH2), Security: form.Security, Preamble: form.Preamble,
		Cert: form.Cert, HostCert: form.HostCert, HostKey: form.HostKey,
		PID: form.PID, Started: form.Started, Stays: form.Stays,
	}, nil
}

func parseReattach(members map[string]json.RawMessage) (AttachInfo, error) {
	var form reattachForm
	if err := decodeMembers(members, &form); err != nil {
		return AttachInfo{}, err
	}
	if form.Protocol != protocolGRPC {
		return AttachInfo{}, fmt.Errorf("the plugin speaks %.64q, and this host only %q", form.Protocol, protocolGRPC)
	}
	id, err := transport.ParseID(form.Addr.Network + "/1")
	if err != nil {
		return AttachInfo{}, fmt.Errorf("key Addr: network %.64q is not a transport", form.Addr.Network)
	}
	security := SecurityNone
	if id.Name == "unix" {
		security = SecurityPeerCred
	}
	return AttachInfo{
		Foreign: true, Version: form.ProtocolVersion, Transport: id, Address: form.Addr.String,
		Session: SessionDirect, Wire: WireH2, Security: security, PID: form.Pid, Stays: form.Test,
	}, nil
}

// check holds the values to their limits. The host checks whether it can use them.
func (a AttachInfo) check() error {
	if err := transport.CheckAddress(a.Address); err != nil {
		return err
	}
	switch {
	case a.PID < 0 || a.Version < 0 || a.Preamble < 0:
		return errors.New("a number of a process or a version is negative")
	case len(a.Protocol) > maxProtocolName:
		return fmt.Errorf("key protocol is %d bytes long, at most %d are allowed", len(a.Protocol), maxProtocolName)
	case len(a.Started) > maxStartedLen:
		return fmt.Errorf("key started is %d bytes long, at most %d are allowed", len(a.Started), maxStartedLen)
	case a.Security == "":
		return errors.New("key security is missing")
	}
	return nil
}
