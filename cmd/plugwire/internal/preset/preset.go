// Package preset knows the cookies and versions with which the hosts of known
// applications start their plugins.
package preset

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// Preset is what an application's host says to its plugins.
type Preset struct {
	// Name is how a person names the preset, and About whose plugins it is for.
	Name, About string
	// Cookie and Value are the variable by which the plugins recognize their host.
	Cookie, Value string
	// Versions are the versions of the protocol that plugins in use speak.
	Versions []int
	// mark is a text that the programs of such plugins hold; empty for the cookie's name.
	mark string
}

// presets are sorted by name. Each cookie is from the source of its application.
var presets = slices.Concat([]Preset{
	// crowdsecurity/crowdsec, pkg/csplugin/broker.go: the plugin takes any value that is
	// not empty.
	{Name: "crowdsec", About: "CrowdSec notifications", Cookie: "CROWDSEC_PLUGIN_KEY", Value: "plugwire", Versions: []int{1}},
	// grafana/grafana-plugin-sdk-go, backend/grpcplugin.
	{Name: "grafana", About: "Grafana backends", Cookie: "grafana_plugin_type", Value: "datasource", Versions: []int{2}},
	// hashicorp/nomad, plugins/base/plugin.go.
	{Name: "nomad", About: "Nomad drivers and devices", Cookie: "NOMAD_PLUGIN_MAGIC_COOKIE", Value: "e4327c2e01eabfd75a8a67adb114fb34a757d57eee7728d857a8cec6e91a7255", Versions: []int{1}},
}, spire(), []Preset{
	// hashicorp/terraform-plugin-go, tfprotov5/tf5server and tfprotov6/tf6server, server.go.
	{Name: "terraform", About: "Terraform and OpenTofu providers", Cookie: terraformCookie, Value: terraformValue, Versions: []int{5, 6}},
	{Name: "terraform5", About: "the same, version 5 only", Cookie: terraformCookie, Value: terraformValue, Versions: []int{5}},
	{Name: "terraform6", About: "the same, version 6 only", Cookie: terraformCookie, Value: terraformValue, Versions: []int{6}},
	// terraform-linters/tflint-plugin-sdk, plugin/internal/host2plugin/plugin.go.
	{Name: "tflint", About: "TFLint rule sets", Cookie: "TFLINT_RULESET_PLUGIN", Value: "5adSn1bX8nrDfgBqiAqqEkC6OE1h3iD8SqbMc5UUONx8x3xCF0KlPDsBRNDjoYDP", Versions: []int{9, 10, 11}},
	// hashicorp/vault and openbao/openbao, sdk/plugin/serve.go.
	{Name: "vault", About: "Vault and OpenBao secrets engines and auth methods", Cookie: "VAULT_BACKEND_PLUGIN", Value: "6669da05-b1c8-4f49-97d9-c8e5bed98e20", Versions: []int{3, 4, 5}},
	// The same, sdk/database/dbplugin/v5/grpc_database_plugin.go.
	{Name: "vault-database", About: "Vault and OpenBao databases", Cookie: "VAULT_DATABASE_PLUGIN", Value: "926a0820-aea2-be28-51d6-83cdf00e8edb", Versions: []int{4, 5, 6}},
})

const (
	terraformCookie = "TF_PLUGIN_MAGIC_COOKIE"
	terraformValue  = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2"
)

// spire returns a preset for each type of plugin. spiffe/spire-plugin-sdk,
// internal/handshake.go: name and value of the cookie are the type.
func spire() []Preset {
	var found []Preset
	for _, kind := range []string{"BundlePublisher", "CredentialComposer", "KeyManager", "NodeAttestor", "Notifier", "SVIDStore", "UpstreamAuthority", "WorkloadAttestor"} {
		name := strings.ToLower(kind)
		found = append(found, Preset{
			Name: "spire-" + name, About: "SPIRE plugins of type " + kind, Cookie: kind, Value: kind, Versions: []int{1},
			mark: "/" + name + "/v1.", // of spire/plugin/agent/keymanager/v1, for example
		})
	}
	return found
}

// All returns the presets, sorted by name.
func All() []Preset { return slices.Clone(presets) }

// Find returns the preset with the given name.
func Find(name string) (Preset, error) {
	name = strings.ToLower(name)
	var names []string
	for _, p := range presets {
		if p.Name == name {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Preset{}, fmt.Errorf("there is no preset %q: use one of %s", name, strings.Join(names, ", "))
}

// spireMark is in every plugin of SPIRE. The marks of its types are too short to mean
// something in other programs.
const spireMark = "spiffe/spire-plugin-sdk"

func (p Preset) marks() []string {
	if p.mark != "" {
		return []string{p.mark, spireMark}
	}
	return []string{p.Cookie}
}

// Recognize returns the presets whose marks are in the program's file, without those
// that only narrow the versions of another.
func Recognize(path string) ([]Preset, error) {
	var texts []string
	for _, p := range presets {
		texts = append(texts, p.marks()...)
	}
	found, err := contains(path, texts)
	if err != nil {
		return nil, err
	}
	var recognized []Preset
	for _, p := range presets {
		all := !slices.ContainsFunc(p.marks(), func(mark string) bool { return !found[mark] })
		known := slices.ContainsFunc(recognized, func(q Preset) bool { return q.Cookie == p.Cookie })
		if all && !known {
			recognized = append(recognized, p)
		}
	}
	return recognized, nil
}

// contains reports which of the texts are in the file.
func contains(path string, texts []string) (found map[string]bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // opened for reading
	longest := len(slices.MaxFunc(texts, func(a, b string) int { return len(a) - len(b) }))
	const chunk = 1 << 20 // bytes that are searched at once
	r := bufio.NewReaderSize(f, chunk)
	found = make(map[string]bool)
	window := make([]byte, 0, chunk+longest)
	for {
		n, err := io.ReadFull(r, window[len(window):len(window)+chunk])
		window = window[:len(window)+n]
		for _, text := range texts {
			if !found[text] && bytes.Contains(window, []byte(text)) {
				found[text] = true
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return found, nil
		}
		if err != nil {
			return nil, err
		}
		keep := min(longest, len(window)) // a text may lie across two chunks
		window = append(window[:0], window[len(window)-keep:]...)
	}
}
