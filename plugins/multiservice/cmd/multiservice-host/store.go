package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

// maxInput is how many bytes of standard input are read for a value: more than
// a value may have, so that the plugin refuses the value.
const maxInput = 1<<20 + 1

// A storeObject is a JSON object of the output.
type storeObject struct {
	Type    string `json:"type"` // "stored"
	Key     string `json:"key"`
	Version int64  `json:"version"`
}

func storeCommand() *hostcli.Command {
	request := &multi.StoreRequest{}
	var value string
	return &hostcli.Command{
		Name:    "store",
		Args:    "KEY VALUE|-",
		Summary: "store a value under a key",
		Help: `Stores a value, or all of standard input, under a key, on behalf of a writer or
an admin. The value is on the disk when the command ends. Prints how often
a value was stored under the key.
`,
		Flags: func(flags *flag.FlagSet) { addCaller(flags, &request.Caller, " (required)") },
		Parse: withCaller(&request.Caller, func(args []string) error {
			if len(args) != 2 {
				return fmt.Errorf("store needs a KEY and a VALUE, or - for standard input, and has %d arguments", len(args))
			}
			request.Key, value = args[0], args[1]
			return hostcli.CheckText(request.GetKey())
		}),
		Run: func(ctx context.Context, s *hostcli.Session) (err error) {
			if request.Value, err = readValue(ctx, value); err != nil {
				return err
			}
			p, err := s.Start(ctx)
			if err != nil {
				return err
			}
			response, err := multi.NewDataServiceClient(p).StoreData(ctx, request)
			if err != nil {
				return err
			}
			return s.Print(fmt.Sprintf("%q, version %d\n", request.GetKey(), response.GetVersion()),
				storeObject{"stored", request.GetKey(), response.GetVersion()})
		},
	}
}

// readValue returns the value: the argument, or standard input.
func readValue(ctx context.Context, argument string) ([]byte, error) {
	if argument != "-" {
		return []byte(argument), nil
	}
	input, err := hostcli.Open(ctx, argument)
	if err != nil {
		return nil, err
	}
	defer input.Close()
	return io.ReadAll(io.LimitReader(input, maxInput))
}
