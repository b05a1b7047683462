package negotiation

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/plugwire/plugwire/core/handshake"
)

func FuzzFields(f *testing.F) {
	all := readVectors(f)
	for _, v := range append(all.Encodings, all.Decodings...) {
		f.Add("key", v.Name, v.Text)
	}
	f.Fuzz(func(t *testing.T, key, value, text string) {
		encoded := encode(value)
		for _, c := range []byte(encoded) {
			if c <= ' ' || c > '~' || c == '|' {
				t.Fatalf("encode(%q) = %q holds the byte %q", value, encoded, c)
			}
		}
		if decoded, err := decode(encoded); err != nil || decoded != value {
			t.Fatalf("decode(encode(%q)) = %q, %v", value, decoded, err)
		}
		if validKey(key) && len(value) < maxFieldsLen/4 {
			checkFields(t, fields{{key, value, true}}.String(), fields{{key, value, true}})
		}

		parsed, err := parseFields(text)
		if err != nil || len(parsed.String()) > maxFieldsLen {
			return
		}
		checkFields(t, parsed.String(), parsed)
	})
}

func FuzzParseOffer(f *testing.F) {
	for _, v := range readVectors(f).Offers {
		f.Add(v.Env[EnvVersions], v.Env[EnvTransports], v.Env[EnvMinPort], v.Env[EnvMultiplex], v.Env[EnvOffer])
	}
	f.Fuzz(func(t *testing.T, versions, transports, port, multiplex, offer string) {
		cookie := DefaultCookie()
		first, err := ParseOffer(lookupIn(map[string]string{
			cookie.Name: cookie.Value, EnvVersions: versions, EnvTransports: transports,
			EnvMinPort: port, EnvMaxPort: port, EnvMultiplex: multiplex, EnvOffer: offer,
		}), cookie, "linux")
		if err != nil {
			var e *handshake.Error
			if !errors.As(err, &e) || e.Code != handshake.CodeOffer || !first.Plugwire {
				t.Fatalf("error %#v, offer %+v", err, first)
			}
			return
		}
		if len(first.Transports) == 0 && !first.Plugwire {
			return // nothing that this side knows was offered, and that cannot be written
		}
		first.Security = offeredSecurity(first.Security)
		env := environMap(t, first.Environ())
		if len(env[EnvOffer]) > maxFieldsLen {
			return // escaping made it longer than what is allowed
		}
		second, err := ParseOffer(lookupIn(env), cookie, "linux")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(first, second, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("offer, written and parsed again (-want +got):\n%s", diff)
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	for _, v := range readVectors(f).Answers {
		f.Add(v.Line, v.Instance)
	}
	f.Fuzz(func(t *testing.T, line, instance string) {
		first, err := ParseAnswer(line, instance)
		if err != nil {
			var e *handshake.Error
			if first != nil || !errors.Is(err, ErrNoise) && !errors.As(err, &e) {
				t.Fatalf("answer %+v with error %v", first, err)
			}
			return
		}
		if r := first.Refusal; r != nil && max(len(r.Reason), len(r.Plugin), len(r.Hint)) > maxText {
			return // is clipped when it is written
		}
		text := first.String()
		if strings.ContainsAny(text, "\r\n") {
			t.Fatalf("%q is not one line", text)
		}
		if len(text) > MaxAnswerLen {
			return // escaping made it longer than what is allowed
		}
		second, err := ParseAnswer(text, instance)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("answer, written as %q and parsed again (-want +got):\n%s", text, diff)
		}
	})
}

func FuzzParseAttachMap(f *testing.F) {
	f.Add(`{"echo":{"plugwire":1,"protocol":"echo","version":2,"transport":"unix/1","address":"/s","security":"peercred"}}`)
	f.Add(`{"a":{"Protocol":"grpc","ProtocolVersion":6,"Pid":1,"Test":true,"Addr":{"Network":"unix","String":"/tmp/plugin1"}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		infos, err := ParseAttachMap(text)
		if err != nil && infos != nil {
			t.Fatalf("%v with error %v", infos, err)
		}
	})
}
