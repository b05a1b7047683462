package host

import (
	"os/exec"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnviron(t *testing.T) {
	t.Parallel()
	inherited := []string{"HOME=/home/me", "PLUGIN_CLIENT_CERT=theirs", "PLUGWIRE_OFFER=theirs", "PLUGIN_MAGIC_COOKIE=plugwire", "PLUGIN_OF_MINE=yes", "MY_APP=please"}
	for _, tt := range []struct {
		name     string
		explicit []string
		want     []string
		err      string
	}{
		{name: "inherited", want: []string{"HOME=/home/me", "PLUGIN_OF_MINE=yes"}},
		{name: "empty", explicit: []string{}, want: []string{}},
		{name: "explicit", explicit: []string{"A=1", "PLUGIN_OF_MINE=no"}, want: []string{"A=1", "PLUGIN_OF_MINE=no"}},
		{name: "copied", explicit: append(append([]string(nil), inherited...), "A=1"), want: []string{"HOME=/home/me", "PLUGIN_OF_MINE=yes", "A=1"}},
		{name: "set", explicit: []string{"PLUGIN_CLIENT_CERT=mine"}, err: "the command sets PLUGIN_CLIENT_CERT in its environment: it belongs to the handshake, use the host's options instead"},
		{name: "own prefix", explicit: []string{"PLUGWIRE_X="}, err: "the command sets PLUGWIRE_X in its environment: it belongs to the handshake, use the host's options instead"},
		{name: "cookie", explicit: []string{"MY_APP=mine"}, err: "the command sets MY_APP in its environment: it belongs to the handshake, use the host's options instead"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := environ(tt.explicit, inherited, "MY_APP")
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if text := errorText(err); text != tt.err {
				t.Errorf("error %q, want %q", text, tt.err)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	for want, cmd := range map[string]*exec.Cmd{
		"(no command)": nil,
		"/bin/p":       {Path: "/bin/p"},
		"/bin/p -v x":  {Path: "/bin/p", Args: []string{"another name", "-v", "x"}},
	} {
		if got := describe(cmd); got != want {
			t.Errorf("describe = %q, want %q", got, want)
		}
	}
}
