package targets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// demoFile is the file that the samples work with.
const demoFile = "README.md"

// A sample is one of the modules in plugins whose plugin has work to do.
type sample struct {
	name string                                              // the directory, and the commands without -host and -plugin
	args func(dir string) []string                           // arguments that its plugin needs; dir is for its files
	work func(ctx context.Context, r runner) (string, error) // does what the plugin is made for; returns the outcome in a few words
}

var samples = []sample{
	{"dataprocessor", noArgs, processText},
	{"multiservice", func(dir string) []string { return []string{"-dir", dir} }, storeValues},
	{"versioned", noArgs, speakBoth},
	{"streaming", func(dir string) []string { return []string{"-root", dir} }, copyFile},
}

func noArgs(string) []string { return nil }

// A runner runs a sample's plugin under the command plugwire.
type runner struct {
	sample sample
	bin    string   // directory of the commands
	dir    string   // for the sample's files
	flags  []string // flags of plugwire for all runs
}

// plugwire runs a command of plugwire on the plugin, with flags and arguments, and returns
// what it prints.
func (r runner) plugwire(ctx context.Context, command string, args ...string) ([]byte, error) {
	line := []string{filepath.Join(r.bin, "plugwire"), command, "-json"}
	line = append(append(line, r.flags...), filepath.Join(r.bin, r.sample.name+"-plugin"))
	line = append(append(append(line, args...), "--"), r.sample.args(r.dir)...)
	out, err := root.command(ctx, line).Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", strings.Join(line, " "), err, out)
	}
	return out, nil
}

// call calls a method of the plugin, in a process of its own, and returns at least one answer.
func (r runner) call(ctx context.Context, method string, requests ...map[string]any) ([]answer, error) {
	var input strings.Builder
	for _, request := range requests {
		text, err := json.Marshal(request)
		if err != nil {
			return nil, err
		}
		input.Write(text)
	}
	out, err := r.plugwire(ctx, "call", method, input.String())
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(out))
	var answers []answer
	for {
		var a answer
		switch err := decoder.Decode(&a); {
		case errors.Is(err, io.EOF) && len(answers) > 0:
			return answers, nil
		case err != nil:
			return nil, fmt.Errorf("%s: %w after %d answers", method, err, len(answers))
		}
		answers = append(answers, a)
	}
}

// An answer has the fields of the samples' messages that the demonstration looks at.
type answer struct {
	Result  string `json:"result"`  // of a processed text; version 2 of versioned has it in Text
	Version any    `json:"version"` // text in a status, number of a stored value
	Data    []byte `json:"data"`    // of a chunk
	Text    string `json:"text"`
	Entries []struct {
		Value []byte `json:"value"`
	} `json:"entries"` // of a query
}

// processText changes a file to upper case.
func processText(ctx context.Context, r runner) (string, error) {
	text, err := os.ReadFile(demoFile)
	if err != nil {
		return "", err
	}
	answers, err := r.call(ctx, "example.DataProcessor/ProcessData",
		map[string]any{"data": string(text), "options": map[string]string{"uppercase": "true"}})
	if err != nil {
		return "", err
	}
	if got := answers[0].Result; !strings.HasPrefix(got, "# PLUGWIRE\n") {
		return "", fmt.Errorf("the result is %.40q", got)
	}
	return fmt.Sprintf("made %d bytes upper case", len(text)), nil
}

// storeValues makes users, stores values under keys, and queries them. Each call is another
// process of the plugin.
func storeValues(ctx context.Context, r runner) (string, error) {
	if _, err := r.call(ctx, "multi.UserService/CreateUser", map[string]any{"name": "ann", "role": "ROLE_ADMIN"}); err != nil {
		return "", err
	}
	if _, err := r.call(ctx, "multi.UserService/CreateUser", map[string]any{"name": "joe", "role": "ROLE_READER", "caller": "ann"}); err != nil {
		return "", err
	}
	const values = 3
	for i := range values {
		request := map[string]any{"caller": "ann", "key": fmt.Sprintf("key/%d", i), "value": fmt.Appendf(nil, "value %d", i)}
		if _, err := r.call(ctx, "multi.DataService/StoreData", request); err != nil {
			return "", err
		}
	}
	found, err := r.call(ctx, "multi.DataService/QueryData", map[string]any{"caller": "joe", "prefix": "key/"})
	if err != nil {
		return "", err
	}
	if n := len(found[0].Entries); n != values || string(found[0].Entries[n-1].Value) != "value 2" {
		return "", fmt.Errorf("found %v", found)
	}
	return fmt.Sprintf("stored %d values, and found them in another process", values), nil
}

// speakBoth does the same work in both versions of the protocol.
func speakBoth(ctx context.Context, r runner) (string, error) {
	text, err := os.ReadFile(demoFile)
	if err != nil {
		return "", err
	}
	old, latest := r, r
	old.flags = append([]string{"-protocol-version", "1"}, r.flags...)
	latest.flags = append([]string{"-protocol-version", "1,2"}, r.flags...)
	first, err := old.call(ctx, "example.DataProcessorV1/Process",
		map[string]any{"data": string(text), "options": map[string]string{"uppercase": "true", "sort": "true"}})
	if err != nil {
		return "", err
	}
	second, err := latest.call(ctx, "example.DataProcessorV2/Process", map[string]any{
		"text": string(text), "operations": []any{map[string]any{"changeCase": map[string]any{"to": "LETTER_CASE_UPPER"}}, map[string]any{"sortLines": map[string]any{}}},
	})
	if err != nil {
		return "", err
	}
	if first[0].Result == "" || first[0].Result != second[0].Text {
		return "", errors.New("versions 1 and 2 have different results")
	}
	return "sorted a file by version 1 and by version 2 of its protocol", nil
}

// copyFile puts a file, gets it back and compares, and asks the room's assistant.
func copyFile(ctx context.Context, r runner) (string, error) {
	content, err := os.ReadFile(demoFile)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(content)
	if _, err := r.call(ctx, "streaming.StreamingService/UploadFile",
		map[string]any{"data": content, "isLast": true, "sha256": sum[:], "upload": map[string]any{"filePath": "copy.md"}}); err != nil {
		return "", err
	}
	chunks, err := r.call(ctx, "streaming.StreamingService/DownloadFile", map[string]any{"filePath": "copy.md"})
	if err != nil {
		return "", err
	}
	var back []byte
	for _, chunk := range chunks {
		back = append(back, chunk.Data...)
	}
	if !bytes.Equal(back, content) {
		return "", errors.New("the file that came back differs")
	}
	messages, err := r.call(ctx, "streaming.StreamingService/Chat", map[string]any{"user": "ann"}, map[string]any{"text": "/calc 6*7"})
	if err != nil {
		return "", err
	}
	reply := messages[len(messages)-1].Text
	if reply != "42" {
		return "", fmt.Errorf("the assistant replied %q", reply)
	}
	return fmt.Sprintf("put %d bytes, got them back, and the assistant replied that 6*7 is %s", len(content), reply), nil
}
