package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/plugins/versioned/example"
)

// A version is a version of the protocol that this host speaks.
type version struct {
	protocol *protocol.Protocol
	// newClient returns a client for the job, or an error that names the part
	// of the job that this version cannot express.
	newClient func(conn grpc.ClientConnInterface, j job) (client, error)
}

// versions returns all versions that this host speaks.
func versions() []version {
	return []version{
		{example.DataProcessorV1Protocol, newClientV1},
		{example.DataProcessorV2Protocol, newClientV2},
	}
}

// An offer has the offered versions. The plugin chooses the highest that it
// has.
type offer struct {
	known    []version
	selected []version
}

// selectVersions selects the versions whose numbers are in list, separated by
// commas.
func (o *offer) selectVersions(list string) error {
	o.selected = nil
	for number := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(o.known, func(v version) bool { return strconv.Itoa(v.protocol.Version()) == number })
		switch {
		case i < 0:
			return fmt.Errorf("unknown version %q: the versions are %s", number, listOf(o.known))
		case slices.ContainsFunc(o.selected, func(v version) bool { return v.protocol == o.known[i].protocol }):
			return fmt.Errorf("duplicate version %s: the versions are %s", number, listOf(o.known))
		}
		o.selected = append(o.selected, o.known[i])
	}
	return nil
}

// protocols returns what is offered to the plugin.
func (o *offer) protocols() []*protocol.Protocol {
	protocols := make([]*protocol.Protocol, len(o.selected))
	for i, v := range o.selected {
		protocols[i] = v.protocol
	}
	return protocols
}

// version returns the version with the number that the plugin chose.
func (o *offer) version(number int) (version, error) {
	for _, v := range o.selected {
		if v.protocol.Version() == number {
			return v, nil
		}
	}
	return version{}, fmt.Errorf("the plugin chose version %d, which was not offered", number)
}

// listOf returns the list for which selectVersions returns versions.
func listOf(versions []version) string {
	numbers := make([]string, len(versions))
	for i, v := range versions {
		numbers[i] = strconv.Itoa(v.protocol.Version())
	}
	return strings.Join(numbers, ",")
}
