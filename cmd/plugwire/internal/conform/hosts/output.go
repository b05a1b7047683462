package hosts

import (
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
)

// outputRules are about what the plugin prints, and about go-plugin's streams.
func outputRules() []*rule {
	calling := func(call probe.Call) stage {
		return foreign(func(s *probe.Scene) { s.Call = call })
	}
	return []*rule{
		{
			section: "protocol 14", name: "output", profiles: everyHost, needs: plain, judge: drained, stage: calling(probe.Write),
			title: "The host reads what the plugin prints, on both outputs, until the end.",
		},
		{
			section: "protocol 14", name: "long-lines", needs: plain, judge: drained, stage: calling(probe.Long),
			title: "A line of a mebibyte does not stop the host from reading.",
		},
		{
			section: "protocol 14", name: "odd-lines", needs: plain, judge: drained, stage: calling(probe.Odd),
			title: "Lines that look like a log and are none do the host no harm.",
		},
		{
			section: "protocol 16", name: "streams", profiles: goPluginHost, needs: plain, stage: plain.stage,
			title: "The host opens StartStream and StreamStdio, for which plugins on go-plugin wait.",
			judge: func(r *record) error {
				for _, name := range []string{"StartStream", "StreamStdio"} {
					if !r.has(probe.Streamed, name) {
						return conform.Fail("a call of "+name, "none; the plugin saw: "+r.steps(), "call it as soon as the connection is there; UNIMPLEMENTED is not an error")
					}
				}
				return nil
			},
		},
		{
			section: "protocol 16", name: "stdio", profiles: goPluginHost, needs: plain, judge: streamDrained("StreamStdio"),
			title: "The host reads StreamStdio until the end, and ignores unknown channels.",
			stage: foreign(func(s *probe.Scene) { s.Extras = probe.Stdio }),
		},
		{
			section: "protocol 21", name: "odd-messages", needs: plain, judge: streamDrained("StartStream"),
			title: "Messages of the broker that make no sense are ignored.",
			stage: foreign(func(s *probe.Scene) { s.Extras = probe.Broker }),
		},
	}
}

// drained returns a failure if the host did not read what the plugin printed in its first
// call.
func drained(r *record) error {
	if !r.has(probe.Called, "") {
		return conform.NotApplicable("the host makes no call, not even of health")
	}
	for _, name := range []string{"standard output", "standard error"} {
		if !r.has(probe.Drained, name) {
			return conform.Fail("the host reads the plugin's "+name, "the plugin blocks as it prints", "read both outputs until they end, in pieces if a line is long")
		}
	}
	return r.works()
}

// streamDrained returns a judge of a stream of go-plugin's on which the plugin sent much.
func streamDrained(name string) func(*record) error {
	return func(r *record) error {
		if !r.has(probe.Streamed, name) {
			return conform.NotApplicable("the host does not open %s", name)
		}
		if err := r.works(); err != nil {
			return err
		}
		if !r.has(probe.Drained, name) {
			return conform.Fail("the host reads "+name, "it does not: the plugin could not send everything", "read the stream for as long as the plugin lives")
		}
		return nil
	}
}
