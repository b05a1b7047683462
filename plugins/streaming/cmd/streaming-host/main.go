// Command streaming-host starts the streaming plugin, gets files from it and
// puts files into it, or chats in its room. See -h.
package main

import (
	"flag"
	"path/filepath"
	"strconv"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/streaming/files"
	"github.com/plugwire/plugwire/plugins/streaming/handler"
	"github.com/plugwire/plugwire/plugins/streaming/streaming"
)

// serving has the flags for the plugin: what it serves.
type serving struct {
	root    string
	maxSize int64
}

func main() {
	s := &serving{root: ".", maxSize: files.DefaultMaxSize}
	program := hostcli.Program{
		Name:          "streaming-host",
		About:         "Starts the streaming plugin on a directory, moves files to and from it, or chats.",
		PluginPackage: "github.com/plugwire/plugwire/plugins/streaming/cmd/streaming-plugin",
		Flags:         s.flags,
		PluginArgs:    s.args,
		Options: func() []host.Option {
			return []host.Option{
				host.WithProtocols(streaming.StreamingServiceProtocol),
				host.WithMaxMessageSize(handler.MaxMessageSize),
			}
		},
		Commands: []*hostcli.Command{getCommand(), putCommand(), chatCommand(), statusCommand()},
	}
	program.Main()
}

func (s *serving) flags(flags *flag.FlagSet) {
	flags.StringVar(&s.root, "root", s.root, "`directory` whose files the plugin serves")
	flags.Int64Var(&s.maxSize, "max-size", s.maxSize, "size in `bytes` of the largest file that the plugin accepts")
}

func (s *serving) args() []string {
	root := s.root
	if abs, err := filepath.Abs(root); err == nil {
		root = abs // so that the plugin's errors about it are clear
	}
	return []string{"-root", root, "-max-size", strconv.FormatInt(s.maxSize, 10)}
}
