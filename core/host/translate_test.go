package host

import (
	"errors"
	"testing"
)

// crossing is a Process that translates.
type crossing struct {
	Process
	err error
}

func (c crossing) PluginToHost(_, address string) (string, string, error) {
	return "tcp", "host of " + address, c.err
}

func (c crossing) HostToPlugin(_, address string) (string, string, error) {
	return "unix", "plugin's " + address, c.err
}

func TestTranslate(t *testing.T) {
	errNone := errors.New("none")
	for _, tt := range []struct {
		name             string
		process          Process
		toHost, toPlugin string
		err              error
	}{
		{name: "same addresses", toHost: "net:a", toPlugin: "net:a"},
		{name: "other addresses", process: crossing{}, toHost: "tcp:host of a", toPlugin: "unix:plugin's a"},
		{name: "no way", process: crossing{err: errNone}, toHost: ":", toPlugin: ":", err: errNone},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &child{Process: tt.process}
			if network, address, err := c.toHost("net", "a"); network+":"+address != tt.toHost || !errors.Is(err, tt.err) {
				t.Errorf("to the host: %s:%s, %v; want %s, %v", network, address, err, tt.toHost, tt.err)
			}
			if network, address, err := c.toPlugin("net", "a"); network+":"+address != tt.toPlugin || !errors.Is(err, tt.err) {
				t.Errorf("to the plugin: %s:%s, %v; want %s, %v", network, address, err, tt.toPlugin, tt.err)
			}
		})
	}
}
