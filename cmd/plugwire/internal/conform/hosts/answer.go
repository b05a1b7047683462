package hosts

import (
	"slices"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
)

// lineRules are about the answer's line as go-plugin's plugins write it.
func (s *suite) lineRules() []*rule {
	all := []*rule{
		{
			section: "protocol 6", name: "white-space", profiles: everyHost, judge: works,
			title: "White space around the answer, and CR LF at its end, do not belong to it.",
			stage: foreign(printing("  {answer}\t\r\n")),
		},
		{
			section: "protocol 6", name: "core-version", profiles: everyHost, judge: refuses,
			title: "An answer whose first field is not 1 is refused.",
			stage: foreign(edited("1", "2")),
		},
		{
			section: "protocol 6", name: "no-rpc-protocol", profiles: everyHost, judge: refuses,
			title: "An answer of four fields, which means net/rpc, is refused.",
			stage: foreign(func(s *probe.Scene) { s.Security, s.Print = "none", []string{"1|{version}|{network}|{address}\n"} }),
		},
		{
			section: "protocol 6", name: "rpc-protocol", profiles: everyHost, judge: refuses,
			title: "An answer whose fifth field is not grpc is refused.",
			stage: foreign(edited("5", "netrpc")),
		},
		{
			section: "protocol 6", name: "address", profiles: everyHost, judge: refuses,
			title: "An address of 2000 bytes is refused.",
			stage: foreign(edited("4", "/"+strings.Repeat("x", 1999))),
		},
		{
			section: "protocol 6", name: "no-certificate", profiles: everyHost, judge: refuses,
			title: "An answer whose sixth field is no certificate is refused.",
			stage: foreign(edited("6", strings.Repeat("not a certificate ", 10))),
		},
		{
			section: "protocol 6", name: "old-data", judge: onlyWithPeerCred(works),
			title: "A sixth field of at most 50 characters is no certificate.",
			stage: foreign(func(s *probe.Scene) { s.Security, s.Edits = "none", map[string]string{"6": "old data"} }),
		},
		{
			section: "protocol 6", name: "padding", needs: tls, judge: works,
			title: "Padding at the end of the certificate is removed.",
			stage: foreign(func(s *probe.Scene) { s.Security, s.Edits = "mtls", map[string]string{"6": "{padded}"} }),
		},
		{
			section: "protocol 6", name: "noise", judge: works,
			title: "Lines before the answer that are no answers are let through.",
			stage: foreign(printing("\n", "a banner\n", "a|table|of\n", "one|two|three|four|five\n", "{long}\n", "{answer}\n")),
		},
		{
			section: "protocol 6", name: "no-line-end", judge: works,
			title: "An answer without LF at the end of the output is read like any other.",
			stage: foreign(func(s *probe.Scene) { s.Print, s.CloseOutput = []string{"{answer}"}, true }),
		},
		{
			section: "protocol 6", name: "no-answer", profiles: everyHost, judge: refuses,
			title: "A plugin that prints something else and ends is refused.",
			stage: foreign(func(s *probe.Scene) { s.Print, s.Start = []string{"hello\n"}, probe.Leave }),
		},
		{
			section: "protocol 6", name: "endless-line", profiles: everyHost, judge: s.boundedMemory(refuses),
			title: "A line of 256 MiB costs the host no memory.",
			stage: foreign(func(s *probe.Scene) { s.Start = probe.Leave; s.Print = repeated("{huge}", 256) }),
		},
		{
			section: "protocol 7", name: "version", profiles: everyHost, judge: refuses,
			title: "A version that the host did not offer is refused.",
			stage: foreign(edited("2", "{unoffered}")),
		},
		{
			section: "protocol 7", name: "network", profiles: conform.Minimal, judge: refuses,
			title: "A transport that the host did not offer is refused.",
			stage: foreign(edited("3", "carrier-pigeon")),
		},
		{
			section: "protocol 7", name: "certificate-unasked", judge: refusesUnasked,
			title: "A certificate that nobody asked for is refused.",
			stage: foreign(func(s *probe.Scene) { s.Security, s.Edits = "none", map[string]string{"6": "{othercert}"} }),
		},
		{
			section: "protocol 7", name: "plaintext", judge: s.refusesPlaintext,
			title: "A plugin on TCP without TLS is refused, unless the user allows it.",
			stage: foreign(func(s *probe.Scene) { s.Transport, s.Security = "tcp", "none" }),
		},
		{
			section: "protocol 7", name: "no-multiplexing", profiles: goPluginHost, judge: refusesNoMultiplexing,
			title: "A plugin without the multiplexed mode is refused by a host that asks for it.",
			stage: foreign(func(s *probe.Scene) { s.NoMultiplex = true }),
		},
	}
	for _, r := range all {
		if r.needs == nil {
			r.needs = plain
		}
	}
	return all
}

func repeated(part string, n int) []string {
	parts := make([]string, n)
	for i := range parts {
		parts[i] = part
	}
	return parts
}

// onlyWithPeerCred judges only hosts that accept a plugin without a certificate on a unix
// socket.
func onlyWithPeerCred(judge func(*record) error) func(*record) error {
	return func(r *record) error {
		if r.env().Get(probe.EnvClientCert) != "" && !offersPeerCred(r) {
			return conform.NotApplicable("the host demands mutual TLS")
		}
		return judge(r)
	}
}

func offersPeerCred(r *record) bool {
	return slices.Contains(r.offer().List("security", "mtls"), "peercred")
}

func refusesUnasked(r *record) error {
	if r.env().Get(probe.EnvClientCert) != "" {
		return conform.NotApplicable("the host asks for a certificate")
	}
	return r.refuses()
}

func (s *suite) refusesPlaintext(r *record) error {
	if s.plaintext {
		return conform.NotApplicable("the host's user allows plaintext")
	}
	return r.refuses()
}

func refusesNoMultiplexing(r *record) error {
	if r.env().Get(probe.EnvMultiplex) == "" {
		return conform.NotApplicable("the host does not ask for the multiplexed mode")
	}
	return r.refuses()
}

// memoryRoom is how much memory a hostile plugin may cost a host, beside what it needs with
// one that does everything right: some buffers, of messages that may have 256 MiB.
const memoryRoom = 128 << 20

// boundedMemory adds to a judge that the host needs no more memory than with a plugin that
// does everything right.
func (s *suite) boundedMemory(judge func(*record) error) func(*record) error {
	return func(r *record) error {
		if err := judge(r); err != nil {
			return err
		}
		base, err := s.played(&plain.stage)
		if err != nil {
			return err
		}
		if base.memory > 0 && r.memory > base.memory+memoryRoom {
			return conform.Fail("about as much memory as with another plugin, "+mebibytes(base.memory), mebibytes(r.memory), "check each length against a limit before memory is allocated")
		}
		return nil
	}
}

// answerRules are about the extended fields of a plugin on Plugwire.
func (s *suite) answerRules() []*rule {
	all := []*rule{
		{
			section: "protocol 6", name: "other-instance", judge: works,
			title: "A line with another instance is let through: it is another plugin's answer.",
			stage: own(printing("1|{version}|{network}|/nowhere/conform|grpc|||instance=another|transport={network}/1\n", "{answer}\n")),
		},
		{
			section: "protocol 6", name: "unknown-key", judge: works,
			title: "An unknown key is ignored.",
			stage: own(func(s *probe.Scene) { s.Extra = "|x-conform=1|future=%41%20thing" }),
		},
		{
			section: "protocol 6", name: "marked-key", judge: refuses,
			title: "An unknown key that must be understood is refused.",
			stage: own(func(s *probe.Scene) { s.Extra = "|!x-conform=1" }),
		},
		{
			section: "protocol 6", name: "duplicate-key", judge: refuses,
			title: "A duplicate key is refused.",
			stage: own(func(s *probe.Scene) { s.Extra = "|session=direct" }),
		},
		{
			section: "protocol 6", name: "broken-escape", judge: refuses,
			title: "A broken escape is refused.",
			stage: own(func(s *probe.Scene) { s.Extra = "|x-conform=%4" }),
		},
		{
			section: "protocol 6", name: "transport-form", judge: refuses,
			title: "A transport without a version is refused.",
			stage: own(edited("transport", "{network}")),
		},
		{
			section: "protocol 6", name: "refusal", judge: refusalIsShown,
			title: "A refusal fails the start, and the host shows the plugin's text.",
			stage: own(func(s *probe.Scene) {
				s.Start = probe.Leave
				s.Print = []string{"\n1|0|||grpc|||instance={instance}|error=internal:the%20conform%20probe%20refuses\n"}
			}),
		},
		{
			section: "protocol 7", name: "protocol", judge: refusesOtherProtocol,
			title: "A plugin of another protocol is refused.",
			stage: own(edited("protocol", "another-protocol-of-conform")),
		},
		{
			section: "protocol 7", name: "transport-version", judge: refuses,
			title: "A version of the transport that the host did not offer is refused.",
			stage: own(edited("transport", "{network}/999")),
		},
		{
			section: "protocol 7", name: "session", judge: refuses,
			title: "A session that the host did not offer is refused.",
			stage: own(edited("session", "carrier-pigeon")),
		},
		{
			section: "protocol 7", name: "wire", judge: refuses,
			title: "A wire that the host did not offer is refused.",
			stage: own(edited("wire", "carrier-pigeon")),
		},
		{
			section: "protocol 7", name: "security", judge: refuses,
			title: "A security that the host did not offer is refused.",
			stage: own(edited("security", "carrier-pigeon")),
		},
		{
			section: "protocol 7", name: "missing-certificate", judge: refuses,
			title: "Mutual TLS without a certificate is refused.",
			stage: own(func(s *probe.Scene) { s.Edits = map[string]string{"security": "mtls", "6": ""} }),
		},
	}
	for _, r := range all {
		r.needs = right
	}
	return all
}

func refusalIsShown(r *record) error {
	if err := r.refuses(); err != nil {
		return err
	}
	if !strings.Contains(r.output, "the conform probe refuses") {
		return conform.Fail("the text of the refusal in what the host prints", "it is not there", "show the text, beside what the host has offered")
	}
	return nil
}

func refusesOtherProtocol(r *record) error {
	if r.offer().Get("protocol") == "" {
		return conform.NotApplicable("the host does not name its protocol")
	}
	return r.refuses()
}
