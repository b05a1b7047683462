package main

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct {
		name string
		args string
		want config
	}{
		{"defaults", "status", config{command: "status", logLevel: slog.LevelWarn}},
		{
			"flags before the command", "-plugin P -json -log-level debug status",
			config{plugin: "P", json: true, logLevel: slog.LevelDebug, command: "status"},
		},
		{
			"flags after the command", "status -plugin P -json -log-level error",
			config{plugin: "P", json: true, logLevel: slog.LevelError, command: "status"},
		},
		{"the later flag counts", "-plugin P status -plugin Q", config{plugin: "Q", logLevel: slog.LevelWarn, command: "status"}},
		{"standard input", "process -", config{command: "process", logLevel: slog.LevelWarn, input: "-"}},
		{
			"everything", "process -option a=b -option c=d=e -option f= -tag s -tag t -query q -limit 7 FILE",
			config{
				command: "process", logLevel: slog.LevelWarn, input: "FILE", tags: []string{"s", "t"}, query: new("q"), limit: 7,
				options: map[string]string{"a": "b", "c": "d=e", "f": ""},
			},
		},
		{"one transport", "-transports tcp status", config{command: "status", logLevel: slog.LevelWarn, transports: transport.Set{tcp.New()}}},
		{
			"transports in another order", "ping -transports quic,unix",
			config{command: "ping", logLevel: slog.LevelWarn, transports: transport.Set{quic.New(), unix.New()}},
		},
		{"count", "ping -count 7", config{command: "ping", logLevel: slog.LevelWarn, count: 7}},
		{"empty query", "process -query= FILE", config{command: "process", logLevel: slog.LevelWarn, input: "FILE", query: new("")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse(strings.Fields(tt.args))
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.options == nil {
				tt.want.options = map[string]string{}
			}
			if tt.want.transports == nil {
				tt.want.transports = transport.Set{unix.New(), quic.New(), tcp.New()}
			}
			if tt.want.count == 0 {
				tt.want.count = 500
			}
			names := cmp.Transformer("names", listOf)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(config{}), names); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseUsageErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"", "a command is missing"},
		{"-json", "a command is missing"},
		{"frobnicate", `unknown command "frobnicate"`},
		{"-x status", "flag provided but not defined: -x"},
		{"-option a=b process FILE", "flag provided but not defined: -option"},
		{"-log-level loud status", `invalid value "loud" for flag -log-level`},
		{"status FILE", "status has no arguments"},
		{"process", "process needs one FILE, or - for standard input, and has 0"},
		{"process A B", "process needs one FILE, or - for standard input, and has 2"},
		{"process -option uppercase FILE", "want name=value"},
		{"process -option =true FILE", "want name=value"},
		{"process -option a=1 -option a=2 FILE", "option a is given twice"},
		{"process -limit -1 FILE", "want a number from 0 to 2147483647"},
		{"process -limit 2147483648 FILE", "want a number from 0 to 2147483647"},
		{"-transports udp status", `unknown transport "udp": the transports are unix,quic,tcp`},
		{"-transports unix, status", `unknown transport "": the transports are unix,quic,tcp`},
		{"-transports unix,unix status", "transport unix is given twice: the transports are unix,quic,tcp"},
		{"-count 7 ping", "flag provided but not defined: -count"},
		{"ping -count x", "want a number from 1 to 1000000"},
		{"ping -count 1000001", "want a number from 1 to 1000000"},
		{"process -tag", "flag needs an argument: -tag"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			_, err := parse(strings.Fields(tt.args))
			var usage usageError
			if !errors.As(err, &usage) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want a usage error with %q", err, tt.want)
			}
		})
	}
}
