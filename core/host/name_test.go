package host

import (
	"os/exec"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"a", "disk", "disk-1", "aws/eu-west-1", "my plugin", "größe", "漢字", "a=b", `"q"`, "a:b@c#1", strings.Repeat("x", maxName), "⚠️ beta",
	} {
		if err := checkName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for name, want := range map[string]string{
		"":                             "is empty",
		" a":                           "blank",
		"a ":                           "blank",
		"a\n":                          "blank",
		"\u00a0a":                      "blank",
		"a\nb":                         "cannot be seen",
		"a\tb":                         "cannot be seen",
		"a\x00b":                       "cannot be seen",
		"a\x1b[31mb":                   "cannot be seen",
		"a\u202eb":                     "cannot be seen",
		"a\u200bb":                     "cannot be seen",
		"a\u2028b":                     "cannot be seen",
		"a\u0085b":                     "cannot be seen",
		"a\u3164b":                     "cannot be seen",
		"\ufe0f":                       "cannot be seen",
		"a\xffb":                       "not UTF-8",
		strings.Repeat("x", maxName+1): "at most 255",
		strings.Repeat("ü", maxName):   "at most 255",
		strings.Repeat("\xff", 1<<20):  "at most 255",
	} {
		_, err := newConfig("program", []Option{WithName(name)})
		if err == nil || !strings.Contains(err.Error(), "host.WithName(") || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20q: %v, want %q", name, err, want)
		}
		if err != nil && (len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\n\x1b\u202e")) {
			t.Errorf("the error is not fit for a line: %.200q", err)
		}
	}
}

func TestProgramName(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/usr/lib/disk-plugin": "disk-plugin", "./disk": "disk", "disk.exe": "disk", "/x/my plugin": "my plugin",
		"/x/a\nb": `"a\nb"`, "/x/\u202ea": `"\u202ea"`, "/x/\xff": `"\xff"`,
	} {
		if got := programName(&exec.Cmd{Path: path}); got != want {
			t.Errorf("name of %q is %q, want %q", path, got, want)
		}
	}
	if got := programName(nil); got != "" {
		t.Errorf("name of no command is %q", got)
	}
}

func TestLabel(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, command, process, want string }{
		{"", "./disk -v", "", "./disk -v"},
		{"disk", "./disk -v", "", "./disk -v"},
		{"disk", "./disk -v", "7", "./disk -v (process 7)"},
		{"disk", `C:\plugins\disk.exe`, "", `C:\plugins\disk.exe`},
		{"disk", "disk", "", "disk"},
		{"disk", "./disk2 -v", "", "disk (./disk2 -v)"},
		{"disk", "./mydisk -v", "7", "disk (./mydisk -v, process 7)"},
		{"b", "./disk -b", "7", "b (./disk -b, process 7)"},
		{"my plugin", "/x/my plugin -v", "7", "/x/my plugin -v (process 7)"},
		{"echo", "echo at unix:/x", "7", "echo at unix:/x (process 7)"},
		{"", "(no command)", "", "(no command)"},
	} {
		if got := label(tt.name, tt.command, tt.process); got != tt.want {
			t.Errorf("label of %q, %q, %q is %q, want %q", tt.name, tt.command, tt.process, got, tt.want)
		}
	}
}
