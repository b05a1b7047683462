package hosts

import (
	"fmt"
	"runtime"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform"
	"github.com/plugwire/plugwire/cmd/plugwire/internal/conform/probe"
)

// lifeRules are about the end of the plugin, and of the host.
func lifeRules() []*rule {
	killed := func(st stage) stage {
		st.kill, st.scene.Call = true, probe.Hang
		return st
	}
	return []*rule{
		{
			section: "protocol 13", name: "shutdown", needs: right, stage: right.stage,
			title: "The host asks the plugin to stop, with its grace, and waits for its end.",
			judge: func(r *record) error { return stopped(r, probe.ControlService+"Shutdown", true) },
		},
		{
			section: "protocol 16", name: "shutdown", profiles: goPluginHost, needs: plain, stage: plain.stage,
			title: "The host asks a foreign plugin to stop by GRPCController, and waits for its end.",
			judge: func(r *record) error { return stopped(r, "/plugin.GRPCController/Shutdown", false) },
		},
		{
			section: "protocol 13", name: "directory", needs: right, stage: right.stage, judge: directoryIsRemoved,
			title: "The directory for sockets is removed.",
		},
		{
			section: "protocol 13", name: "nothing-left", profiles: everyHost, stage: plain.stage,
			title: "No process of the plugin is left when the host has ended.",
			judge: func(r *record) error { return r.gone() },
		},
		{
			section: "protocol 13", name: "does-not-stop", profiles: everyHost, needs: plain, judge: ends, slow: slowStop,
			title: "A plugin that answers Shutdown and does not stop is killed.",
			stage: foreign(func(s *probe.Scene) { s.Stop = probe.Stay }),
		},
		{
			section: "protocol 13", name: "does-not-answer", needs: plain, judge: ends, slow: slowStop,
			title: "A plugin that does not answer Shutdown is killed.",
			stage: foreign(func(s *probe.Scene) { s.Stop = probe.Deaf }),
		},
		{
			section: "protocol 16", name: "no-shutdown", profiles: everyHost, needs: plain, judge: ends, slow: slowStop,
			title: "A plugin without GRPCController is ended.",
			stage: foreign(func(s *probe.Scene) { s.Stop = probe.Unknown }),
		},
		{
			section: "protocol 13", name: "group", needs: plain, judge: ends, slow: slowStop,
			title: "What the plugin has started is ended with it.",
			stage: foreign(func(s *probe.Scene) { s.Stop = probe.Leftover }),
		},
		{
			section: "protocol 13", name: "exits-at-once", profiles: everyHost, needs: plain, judge: refuses,
			title: "A plugin that exits before its answer is refused.",
			stage: foreign(func(s *probe.Scene) { s.Print, s.Start = []string{""}, probe.Leave }),
		},
		{
			section: "protocol 15", name: "start", profiles: everyHost, needs: plain, judge: refuses, slow: slowStart,
			title: "A plugin that does not answer is ended when the start has taken too long.",
			stage: foreign(func(s *probe.Scene) { s.Print, s.Start = []string{""}, probe.Silent }),
		},
		{
			section: "protocol 13", name: "dies-in-call", profiles: everyHost, needs: plain, judge: failsByCall,
			title: "A call fails when the plugin dies.",
			stage: foreign(func(s *probe.Scene) { s.Call = probe.Die }),
		},
		{
			section: "protocol 13", name: "connection-lost", needs: right, judge: failsByCall, slow: slowStop,
			title: "A call fails when the connection ends, and the plugin is ended.",
			stage: own(func(s *probe.Scene) { s.Call = probe.HangUp }),
		},
		{
			section: "protocol 13", name: "host-killed", needs: right, stage: killed(own(nil)), judge: endsWithHost, loose: true,
			title: "The plugin ends when the host is killed.",
		},
		{
			section: "protocol 16", name: "host-killed", needs: plain, stage: killed(foreign(nil)), judge: endsWithHostOnLinux, loose: true,
			title: "On Linux, a foreign plugin ends when the host is killed.",
		},
	}
}

// stopped returns a failure if the plugin was not asked to stop by method, or did not end by
// that.
func stopped(r *record, method string, withGrace bool) error {
	e, ok := r.find(probe.Asked, "")
	if !ok {
		return conform.Fail("a call of "+method, "none; the plugin saw: "+r.steps(), "call it before the connection is closed, with the grace as its deadline")
	}
	if e.Text != method || withGrace && e.N <= 0 {
		return conform.Fail("a call of "+method+" with a grace", fmt.Sprintf("%s with a grace of %d ms", e.Text, e.N), "say how long the plugin may take, in milliseconds")
	}
	if r.has(probe.Signal, "") {
		return conform.Fail("no signal for a plugin that stops", "the plugin got SIGTERM; it saw: "+r.steps(), "wait for the process before it is ended by force")
	}
	if left, ok := r.find(probe.Leaving, ""); !ok || left.N != 0 {
		return conform.Fail("the plugin exits by itself", "it was killed; it saw: "+r.steps(), "wait for the process before it is ended by force")
	}
	return nil
}

// endsWithHost judges a run in which the host was killed.
func endsWithHost(r *record) error {
	if !r.has(probe.Called, "") {
		return conform.NotApplicable("the host makes no call, not even of health")
	}
	return r.gone()
}

func endsWithHostOnLinux(r *record) error {
	if runtime.GOOS != "linux" {
		return conform.NotApplicable("it is a rule for Linux")
	}
	return endsWithHost(r)
}
