package main

import (
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// parseProcess parses what follows the command on the command line.
func parseProcess(args string) (*processing, error) {
	p := &processing{options: map[string]string{}}
	flags := flag.NewFlagSet("process", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	p.flags(flags)
	if err := flags.Parse(strings.Fields(args)); err != nil {
		return nil, err
	}
	return p, p.parse(flags.Args())
}

func TestProcessFlags(t *testing.T) {
	for _, tt := range []struct {
		name string
		args string
		want processing
	}{
		{"standard input", "-", processing{input: "-"}},
		{
			"everything", "-option a=b -option c=d=e -option f= -tag s -tag t -query q -limit 7 FILE",
			processing{
				input: "FILE", tags: []string{"s", "t"}, query: new("q"), limit: 7,
				options: map[string]string{"a": "b", "c": "d=e", "f": ""},
			},
		},
		{"empty query", "-query= FILE", processing{input: "FILE", query: new("")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseProcess(tt.args)
			if err != nil {
				t.Fatal(err)
			}
			if tt.want.options == nil {
				tt.want.options = map[string]string{}
			}
			if diff := cmp.Diff(&tt.want, got, cmp.AllowUnexported(processing{})); diff != "" {
				t.Errorf("command (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProcessUsageErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"", "process needs one FILE, or - for standard input, and has 0"},
		{"A B", "process needs one FILE, or - for standard input, and has 2"},
		{"-option uppercase FILE", "want name=value"},
		{"-option =true FILE", "want name=value"},
		{"-option a=1 -option a=2 FILE", "duplicate option a"},
		{"-limit -1 FILE", "want a number from 0 to 2147483647"},
		{"-limit 2147483648 FILE", "want a number from 0 to 2147483647"},
		{"-option a=\xff FILE", `"a=\xff" is not UTF-8`},
		{"-tag \xff FILE", `"\xff" is not UTF-8`},
		{"-query \xff FILE", `"\xff" is not UTF-8`},
		{"-tag", "flag needs an argument: -tag"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			if _, err := parseProcess(tt.args); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}
