package negotiation

import (
	"bytes"
	stdcmp "cmp"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/transport"
)

// vectors is handshake/testdata/vectors.json, which is written for implementations in any
// language. Package session runs the preambles, package plugin the plugins, and
// package goplugin the messages.
type vectors struct {
	About        string
	Cookie       Cookie
	Encodings    []fieldsVector
	Decodings    []fieldsVector
	Offers       []offerVector
	Answers      []answerVector
	Checks       []checkVector
	Negotiations []negotiationVector
	Plugins      []json.RawMessage
	Preambles    []json.RawMessage
	Messages     []json.RawMessage
}

type fieldsVector struct {
	Name   string
	Text   string
	Fields []struct {
		Key      string
		Must     bool
		Value    string
		ValueHex string `json:"value_hex"`
	}
	Error bool
}

type offerVector struct {
	Name   string
	Cookie *Cookie
	OS     string
	Env    map[string]string

	Offer    *vectorOffer
	Curve    string
	Error    handshake.Code
	Plugwire bool
	Instance string
	Written  bool
}

type vectorOffer struct {
	Versions   []int
	MinPort    int    `json:"min_port"`
	MaxPort    int    `json:"max_port"`
	ClientCert string `json:"client_cert"`
	Multiplex  string
	SocketDir  string `json:"socket_dir"`
	Group      string `json:"socket_group"`
	Transports []string
	Plugwire   bool
	Protocol   string
	Sessions   []string
	Wires      []string
	Security   []string
	Instance   string
	LogLevel   string
	Lifeline   int
	Callbacks  bool
	Files      map[string][]int
	Leash      int
	Identities map[int]FileID
	HostPID    int `json:"host_pid"`
}

type answerVector struct {
	Name   string
	Line   string
	Append struct {
		Text  string
		Times int
	}
	Instance string

	Answer  *vectorAnswer
	Curve   string
	Noise   bool
	Error   handshake.Code
	Written bool
}

type vectorAnswer struct {
	Version   int
	Network   string
	Address   string
	Cert      string
	Multiplex string
	Plugwire  bool
	Transport string
	Session   string
	Wire      string
	Security  string
	Skipped   string
	Ready     bool
	Preamble  int
	Protocol  string

	Transports []string
	Instance   string
	Refusal    *struct {
		Code   handshake.Code
		Reason string
		Offer  string
		Hint   string
	}
}

type checkVector struct {
	Name     string
	Offer    vectorOffer
	Line     string
	Session  string
	Security string
	Error    handshake.Code
}

type negotiationVector struct {
	Name   string
	Offer  vectorOffer
	Plugin struct {
		Protocol                    string
		Versions                    []int
		Protocols                   []Protocol // instead of the two above
		Transports, Wires, Security []string
		Sessions                    map[string][]string
	}
	Choice *struct {
		Protocol   string // empty where there is only one
		Version    int
		Candidates []struct{ Transport, Session string }
		Wire       string
		Security   string
	}
	Error handshake.Code
}

func readVectors(tb testing.TB) *vectors {
	tb.Helper()
	data, err := os.ReadFile("../../handshake/testdata/vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	v := new(vectors)
	if err := d.Decode(v); err != nil {
		tb.Fatal(err)
	}
	for name, n := range map[string]int{
		"encodings": len(v.Encodings), "decodings": len(v.Decodings), "offers": len(v.Offers), "answers": len(v.Answers),
		"checks": len(v.Checks), "negotiations": len(v.Negotiations), "plugins": len(v.Plugins), "preambles": len(v.Preambles),
		"messages": len(v.Messages),
	} {
		if n == 0 {
			tb.Errorf("no %s", name)
		}
	}
	return v
}

func TestVectorsEncodings(t *testing.T) {
	for _, v := range readVectors(t).Encodings {
		t.Run(v.Name, func(t *testing.T) {
			want := v.fields(t)
			if got := want.String(); got != v.Text {
				t.Errorf("written as %q, want %q", got, v.Text)
			}
			checkFields(t, v.Text, want)
		})
	}
}

func TestVectorsDecodings(t *testing.T) {
	for _, v := range readVectors(t).Decodings {
		t.Run(v.Name, func(t *testing.T) {
			if !v.Error {
				checkFields(t, v.Text, v.fields(t))
			} else if f, err := parseFields(v.Text); err == nil {
				t.Errorf("parsed as %v, want an error", f)
			}
		})
	}
}

func (v *fieldsVector) fields(t *testing.T) fields {
	t.Helper()
	var f fields
	for _, x := range v.Fields {
		value := []byte(x.Value)
		if x.ValueHex != "" {
			value = unhex(t, x.ValueHex)
		}
		f = append(f, field{x.Key, string(value), x.Must})
	}
	return f
}

func checkFields(t *testing.T, text string, want fields) {
	t.Helper()
	got, err := parseFields(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(field{})); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestVectorsOffers(t *testing.T) {
	all := readVectors(t)
	for _, v := range all.Offers {
		t.Run(v.Name, func(t *testing.T) {
			cookie := all.Cookie
			if v.Cookie != nil {
				cookie = *v.Cookie
			}
			got, err := ParseOffer(lookupIn(v.Env), cookie, v.OS)
			checkCode(t, err, v.Error)
			if v.Error != "" {
				if got.Plugwire != v.Plugwire || got.Instance != v.Instance {
					t.Errorf("plugwire %t, instance %q; want %t, %q", got.Plugwire, got.Instance, v.Plugwire, v.Instance)
				}
				return
			}
			want := v.Offer.offer(t)
			want.Cookie = cookie
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("offer (-want +got):\n%s", diff)
			}
			if v.Curve != "" {
				block, _ := pem.Decode([]byte(got.ClientCert))
				if block == nil {
					t.Fatal("the certificate is not PEM")
				}
				checkCurve(t, block.Bytes, v.Curve)
			}
			if v.Written {
				if diff := cmp.Diff(v.Env, environMap(t, want.Environ())); diff != "" {
					t.Errorf("environment (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestVectorsAnswers(t *testing.T) {
	for _, v := range readVectors(t).Answers {
		t.Run(v.Name, func(t *testing.T) {
			line := v.Line + strings.Repeat(v.Append.Text, v.Append.Times)
			got, err := ParseAnswer(line, v.Instance)
			if v.Noise {
				if !errors.Is(err, ErrNoise) {
					t.Fatalf("error %v, want ErrNoise", err)
				}
				return
			}
			checkCode(t, err, v.Error)
			if v.Error != "" {
				return
			}
			want := v.Answer.answer(t)
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if v.Curve != "" {
				checkCurve(t, got.Cert, v.Curve)
			}
			if v.Written {
				if text := want.String(); text != line {
					t.Errorf("written as %q, want %q", text, line)
				}
			}
		})
	}
}

func TestVectorsChecks(t *testing.T) {
	for _, v := range readVectors(t).Checks {
		t.Run(v.Name, func(t *testing.T) {
			offer := v.Offer.offer(t)
			a, err := ParseAnswer(v.Line, offer.Instance)
			if err != nil {
				t.Fatal(err)
			}
			before := *a
			agreed, err := a.Check(offer)
			checkCode(t, err, v.Error)
			if diff := cmp.Diff(before, *a); diff != "" {
				t.Errorf("Check changed the answer (-before +after):\n%s", diff)
			}
			if v.Error == "" && (agreed.Session != v.Session || agreed.Security != v.Security) {
				t.Errorf("session %q, security %q; want %q, %q", agreed.Session, agreed.Security, v.Session, v.Security)
			}
		})
	}
}

func TestVectorsNegotiations(t *testing.T) {
	for _, v := range readVectors(t).Negotiations {
		t.Run(v.Name, func(t *testing.T) {
			offer := v.Offer.offer(t)
			protocols := v.Plugin.Protocols
			if protocols == nil {
				protocols = []Protocol{{v.Plugin.Protocol, v.Plugin.Versions}}
			}
			choice, err := Choose(offer, Capabilities{
				Protocols: protocols, Transports: transportIDs(t, v.Plugin.Transports),
				Sessions: v.Plugin.Sessions, Wires: v.Plugin.Wires,
			})
			var security string
			if err == nil {
				security, err = ChooseSecurity(offer, v.Plugin.Security)
			}
			checkCode(t, err, v.Error)
			if v.Error != "" {
				return
			}
			want := Choice{Protocol: stdcmp.Or(v.Choice.Protocol, v.Plugin.Protocol), Version: v.Choice.Version, Wire: v.Choice.Wire}
			for _, c := range v.Choice.Candidates {
				want.Candidates = append(want.Candidates, Candidate{transportIDs(t, []string{c.Transport})[0], c.Session})
			}
			if diff := cmp.Diff(want, choice); diff != "" {
				t.Errorf("choice (-want +got):\n%s", diff)
			}
			if security != v.Choice.Security {
				t.Errorf("security %q, want %q", security, v.Choice.Security)
			}
		})
	}
}

func (v *vectorOffer) offer(t *testing.T) *Offer {
	t.Helper()
	return &Offer{
		Versions: v.Versions, MinPort: v.MinPort, MaxPort: v.MaxPort, ClientCert: v.ClientCert, Multiplex: v.Multiplex,
		SocketDir: v.SocketDir, SocketGroup: v.Group, Transports: transportIDs(t, v.Transports), Plugwire: v.Plugwire, Protocol: v.Protocol,
		Sessions: v.Sessions, Wires: v.Wires, Security: v.Security, Instance: v.Instance, LogLevel: v.LogLevel, Lifeline: v.Lifeline,
		Callbacks: v.Callbacks, Files: v.Files, Leash: v.Leash, Identities: v.Identities, HostPID: v.HostPID,
	}
}

func (v *vectorAnswer) answer(t *testing.T) *Answer {
	t.Helper()
	cert, err := base64.RawStdEncoding.DecodeString(v.Cert)
	if err != nil {
		t.Fatal(err)
	}
	a := &Answer{
		Version: v.Version, Network: v.Network, Address: v.Address, Cert: cert, Multiplex: v.Multiplex, Plugwire: v.Plugwire,
		Session: v.Session, Wire: v.Wire, Security: v.Security, Skipped: v.Skipped, Ready: v.Ready, Preamble: v.Preamble, Protocol: v.Protocol, Instance: v.Instance,
		Transports: transportIDs(t, v.Transports),
	}
	if v.Transport != "" {
		a.Transport = transportIDs(t, []string{v.Transport})[0]
	}
	if r := v.Refusal; r != nil {
		a.Refusal = &handshake.Error{Code: r.Code, Reason: r.Reason, Plugin: r.Offer, Hint: r.Hint}
	}
	return a
}

// checkCode checks that err is an [*Error] with that code, or nil for none.
func checkCode(t *testing.T, err error, want handshake.Code) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	var e *handshake.Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v, want code %s", err, want)
	}
	if e.Code != want {
		t.Fatalf("code %s (%v), want %s", e.Code, err, want)
	}
	if e.Reason == "" {
		t.Error("the error gives no reason")
	}
}

// checkCurve checks that the key of a certificate is on that curve.
func checkCurve(t *testing.T, der []byte, want string) {
	t.Helper()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	key, ok := cert.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve.Params().Name != want {
		t.Errorf("a key of type %T, want one on curve %s", cert.PublicKey, want)
	}
}

func transportIDs(t *testing.T, names []string) []transport.ID {
	t.Helper()
	var ids []transport.ID
	for _, name := range names {
		id, err := transport.ParseID(name)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

func lookupIn(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

func environMap(t *testing.T, environ []string) map[string]string {
	t.Helper()
	env := make(map[string]string)
	for _, entry := range environ {
		name, value, ok := strings.Cut(entry, "=")
		if _, dup := env[name]; dup || !ok {
			t.Errorf("entry %q is malformed, or its name is a duplicate in %q", entry, slices.Sorted(maps.Keys(env)))
		}
		env[name] = value
	}
	return env
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
