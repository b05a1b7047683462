package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/core/protocol"
	"github.com/plugwire/plugwire/core/transport"
	"github.com/plugwire/plugwire/plugins/versioned/compat"
	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/processor"
	"github.com/plugwire/plugwire/transport/quic"
	"github.com/plugwire/plugwire/transport/tcp"
	"github.com/plugwire/plugwire/transport/unix"
)

// This test's executable also plays the plugins of other releases, older and newer. They serve the versions in this
// variable of the environment.
const versionsVariable = "VERSIONED_TEST_PLUGIN_VERSIONS"

// futureProtocol is a version 3 that equals version 2.
var futureProtocol = protocol.New(example.DataProcessorV2Protocol.Name(), 3, &example.DataProcessorV2_ServiceDesc)

var protocols = map[string]*protocol.Protocol{
	"1": example.DataProcessorV1Protocol,
	"2": example.DataProcessorV2Protocol,
	"3": futureProtocol,
}

// futureServer is the code that would be generated for a handler of version 3.
type futureServer struct {
	example.DataProcessorV2Handler
	example.UnsafeDataProcessorV2Server
}

// servePluginOfAnotherRelease is the main function of a plugin of another release.
func servePluginOfAnotherRelease() {
	newest := processor.New()
	bindings := map[string]protocol.Binding{
		"1": example.ServeDataProcessorV1(compat.NewV1(newest)),
		"2": example.ServeDataProcessorV2(newest),
		"3": protocol.Bind(futureProtocol, futureServer{DataProcessorV2Handler: newest}),
	}
	var served protocol.Binding
	for number := range strings.SplitSeq(os.Getenv(versionsVariable), ",") {
		served = protocol.Join(served, bindings[number])
	}
	plugin.Main(served, plugin.WithTransports(unix.New()))
}

// pluginCommand is a plugin that serves only these versions: the real one, if there is one.
func pluginCommand(t *testing.T, versions string) *exec.Cmd {
	t.Helper()
	if versions == "1,2" {
		return exec.Command(path("versioned-plugin"))
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), versionsVariable+"="+versions)
	return cmd
}

// checkWork checks that the plugin does its work in the chosen version. The results are the same in each. Only the
// names of wrong fields differ.
func checkWork(t *testing.T, p *host.Plugin) {
	t.Helper()
	texts, want := []string{" b\na ", "", " c \n\n d"}, []string{"A\nB", "", "\n D\nC "}
	var results []string
	var failures []error
	wrong := "text"
	if p.Info().Version == 1 {
		wrong = "data"
		client := example.NewDataProcessorV1Client(p)
		options := map[string]string{"trim": "true", "uppercase": "true", "sort": "true"}
		for _, text := range texts {
			response, err := client.Process(t.Context(), &example.ProcessRequestV1{Data: text, Options: options})
			results, failures = append(results, response.GetResult()), append(failures, err)
		}
	} else {
		operations := []*example.Operation{
			{Kind: &example.Operation_Trim{Trim: &example.Trim{}}},
			{Kind: &example.Operation_ChangeCase{ChangeCase: &example.ChangeCase{To: example.LetterCase_LETTER_CASE_UPPER}}},
			{Kind: &example.Operation_SortLines{SortLines: &example.SortLines{}}},
		}
		request := new(example.BatchProcessRequest)
		for _, text := range texts {
			request.Items = append(request.Items, &example.ProcessRequestV2{Text: text, Operations: operations})
		}
		response, err := example.NewDataProcessorV2Client(p).BatchProcess(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range response.GetResults() {
			e := r.GetError()
			results, failures = append(results, r.GetResponse().GetText()), append(failures, status.Error(codes.Code(e.GetCode()), e.GetMessage()))
		}
	}
	if !slices.Equal(results, want) {
		t.Errorf("version %d: results %q, want %q", p.Info().Version, results, want)
	}
	for i, text := range texts {
		code, message := codes.OK, ""
		if text == "" {
			code, message = codes.InvalidArgument, wrong+": must not be empty"
		}
		if s := status.Convert(failures[i]); s.Code() != code || s.Message() != message {
			t.Errorf("version %d: error %v for %q, want %v and %q", p.Info().Version, failures[i], text, code, message)
		}
	}
}

func TestWorkOverEachTransport(t *testing.T) {
	for _, tr := range []transport.Transport{unix.New(), quic.New(), tcp.New()} {
		for _, known := range []*protocol.Protocol{example.DataProcessorV1Protocol, example.DataProcessorV2Protocol} {
			t.Run(fmt.Sprintf("%s version %d", tr.Name(), known.Version()), func(t *testing.T) {
				p, err := launch(t, pluginCommand(t, "1,2"), tr, known)
				if err != nil {
					t.Fatal(err)
				}
				checkWork(t, p)
			})
		}
	}
}

// TestVersions meets plugins of different ages, each a process of its own, as hosts of different ages. It prints the
// table in README.md.
func TestVersions(t *testing.T) {
	plugins := []string{"1", "1,2", "2", "3"}
	var table strings.Builder
	columns := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintf(columns, "    host\tplugin: %s\n", strings.Join(plugins, "\tplugin: "))
	for _, tt := range []struct {
		host string
		want []int // with each plugin, 0 for a refusal
	}{
		{"1", []int{1, 1, 0, 0}},
		{"2", []int{0, 2, 2, 0}},
		{"1,2", []int{1, 2, 2, 0}},
		{"3", []int{0, 0, 0, 3}},
		{"2,3", []int{0, 2, 2, 3}},
	} {
		var known []*protocol.Protocol
		for number := range strings.SplitSeq(tt.host, ",") {
			known = append(known, protocols[number])
		}
		cells := []string{"    " + tt.host}
		for i, served := range plugins {
			p, err := launch(t, pluginCommand(t, served), unix.New(), known...)
			if err != nil {
				cells = append(cells, "refused")
				if want := sides(tt.host, served); tt.want[i] != 0 || !strings.Contains(err.Error(), want) {
					t.Errorf("host %s, plugin %s: error %v, want version %d, or 0 and %q", tt.host, served, err, tt.want[i], want)
				}
				continue
			}
			if got := p.Info().Version; got != tt.want[i] {
				t.Errorf("host %s, plugin %s: version %d, want %d", tt.host, served, got, tt.want[i])
			}
			cells = append(cells, strconv.Itoa(p.Info().Version))
			checkWork(t, p)
		}
		fmt.Fprintln(columns, strings.Join(cells, "\t"))
	}
	if err := columns.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", &table)
	readme, err := os.ReadFile(filepath.FromSlash("../../README.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), table.String()) {
		t.Errorf("README.md does not have this table:\n%s", &table)
	}
}

// sides is the form in which an error names the versions of both sides.
func sides(hostVersions, pluginVersions string) string {
	return fmt.Sprintf("(host: %s; plugin: %s)", numbers(hostVersions), numbers(pluginVersions))
}

func numbers(list string) string {
	versions := strings.Split(list, ",")
	slices.Reverse(versions)
	word := "version"
	if len(versions) > 1 {
		word = "versions"
	}
	return word + " " + strings.Join(versions, ", ")
}
