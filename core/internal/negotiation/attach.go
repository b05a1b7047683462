package negotiation

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/plugwire/plugwire/core/handshake"
)

// The environment variables of debugging. They are for people. No host passes them on
// to a plugin.
const (
	// EnvDebug makes a plugin that a person starts serve the hosts that attach to it:
	// a true boolean, or [DebugGoPlugin].
	EnvDebug = "PLUGWIRE_DEBUG"
	// EnvAttach holds [handshake.AttachInfo] by the names of plugins or protocols. A
	// host attaches to such a plugin instead of launching one.
	EnvAttach = "PLUGWIRE_ATTACH"
)

// DebugGoPlugin is the value of [EnvDebug] with which a plugin serves hosts on
// go-plugin.
const DebugGoPlugin = "go-plugin"

// ParseAttachMap parses the value of [EnvAttach]: a JSON object that holds attach
// information by name. The text needs no bound of its own: the system bounds an
// environment variable. An error shows nothing of the text that may be secret.
func ParseAttachMap(text string) (map[string]handshake.AttachInfo, error) {
	var entries map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &entries); err != nil {
		return nil, fmt.Errorf("it is not a JSON object: %w", err)
	}
	if entries == nil {
		return nil, errors.New("it is not a JSON object: it is null")
	}
	infos := make(map[string]handshake.AttachInfo, len(entries))
	for name, entry := range entries {
		var info handshake.AttachInfo
		if err := info.UnmarshalJSON(entry); err != nil {
			return nil, fmt.Errorf("entry %.64q: %w", name, err)
		}
		infos[name] = info
	}
	return infos, nil
}

// FormatAttachMap returns the value of [EnvAttach] for one plugin, in a form that a
// shell takes between single quotes.
func FormatAttachMap(info handshake.AttachInfo) (string, error) {
	text, err := json.Marshal(map[string]handshake.AttachInfo{info.Protocol: info})
	if err != nil {
		return "", err
	}
	return strings.ReplaceAll(string(text), "'", `\u0027`), nil
}

// AnswerOf returns the answer that the plugin would have given to a host that attaches
// to it. The host checks that answer against its offer.
func AnswerOf(info handshake.AttachInfo) *Answer {
	return &Answer{
		Version: info.Version, Network: info.Transport.Name, Address: info.Address, Cert: info.Cert,
		Plugwire: !info.Foreign, Transport: info.Transport, Session: info.Session, Wire: info.Wire, Security: info.Security,
		Protocol: info.Protocol, Preamble: info.Preamble,
	}
}
