package transport_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/core/transport"
)

// namedTransport is a transport with a name and nothing else.
type namedTransport struct {
	transport.Transport
	name     string
	versions []int
}

func (n namedTransport) Name() string    { return n.name }
func (n namedTransport) Versions() []int { return n.versions }

func TestSetKeepsPreference(t *testing.T) {
	quic := namedTransport{name: "quic", versions: []int{2, 10, 1}}
	unix := namedTransport{name: "unix", versions: []int{1}}
	set, err := transport.NewSet(quic, unix)
	if err != nil {
		t.Fatal(err)
	}
	want := []transport.ID{{"quic", 10}, {"quic", 2}, {"quic", 1}, {"unix", 1}}
	if diff := cmp.Diff(want, set.IDs()); diff != "" {
		t.Errorf("IDs (-want +got):\n%s", diff)
	}
	if want := []int{2, 10, 1}; !slices.Equal(quic.versions, want) {
		t.Errorf("the transport's own versions became %v, want %v", quic.versions, want)
	}
	if got := set.ByName("unix"); got == nil || got.Name() != "unix" {
		t.Errorf("ByName(unix) = %v", got)
	}
	if got := set.ByName("tcp"); got != nil {
		t.Errorf("ByName(tcp) = %v, want nil", got)
	}
}

func TestEmptySet(t *testing.T) {
	set, err := transport.NewSet()
	if err != nil || len(set) != 0 || len(set.IDs()) != 0 || set.ByName("") != nil {
		t.Errorf("NewSet() = %v, %v, want an empty set", set, err)
	}
}

// TestSetIsACopy checks that a caller may change the slice that it passed.
func TestSetIsACopy(t *testing.T) {
	given := []transport.Transport{namedTransport{name: "unix", versions: []int{1}}}
	set, err := transport.NewSet(given...)
	if err != nil {
		t.Fatal(err)
	}
	given[0] = namedTransport{name: "tcp", versions: []int{1}}
	if set[0].Name() != "unix" {
		t.Error("the set changed with the caller's slice")
	}
}

func TestNewSetErrors(t *testing.T) {
	one := []int{1}
	tests := []struct {
		want       string
		transports []transport.Transport
	}{
		{"a transport is nil", []transport.Transport{nil}},
		{"transport unix is given twice", []transport.Transport{namedTransport{name: "unix", versions: one}, namedTransport{name: "unix", versions: []int{2}}}},
		{`transport transport_test.namedTransport: name ""`, []transport.Transport{namedTransport{versions: one}}},
		{`name "Unix"`, []transport.Transport{namedTransport{name: "Unix", versions: one}}},
		{`name "1unix"`, []transport.Transport{namedTransport{name: "1unix", versions: one}}},
		{`name "unix/1"`, []transport.Transport{namedTransport{name: "unix/1", versions: one}}},
		{`name "unix\n"`, []transport.Transport{namedTransport{name: "unix\n", versions: one}}},
		{"at most 32", []transport.Transport{namedTransport{name: strings.Repeat("x", 33), versions: one}}},
		{"transport unix: versions []", []transport.Transport{namedTransport{name: "unix"}}},
		{"transport unix: versions [1 0]", []transport.Transport{namedTransport{name: "unix", versions: []int{1, 0}}}},
		{"transport unix: versions [2 1 2]", []transport.Transport{namedTransport{name: "unix", versions: []int{2, 1, 2}}}},
	}
	for _, test := range tests {
		if _, err := transport.NewSet(test.transports...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("NewSet: %v, want an error that says %q", err, test.want)
		}
	}
}

func TestCheckAddress(t *testing.T) {
	for _, address := range []string{
		"/tmp/plugin-0a1b2c3d", "127.0.0.1:1234", "[::1]:1234", "x", "!~", " a b\t", "/tmp/jos\u00e9/\u65e5\u672c", "/tmp/jos\xe9", strings.Repeat("x", transport.MaxAddressLen),
	} {
		if err := transport.CheckAddress(address); err != nil {
			t.Errorf("CheckAddress(%q): %v", address, err)
		}
	}
	for address, want := range map[string]string{
		"":                 "the address is empty",
		"a|b":              `holds '|'`,
		"a\x00":            `holds '\x00'`,
		"a\n":              `holds '\n'`,
		"a\x7f":            `holds '\x7f'`,
		"a\x1b[2J":         `holds '\x1b'`,
		longAddress + "x":  "1025 bytes long, at most 1024",
		longAddress + "\n": "1025 bytes long, at most 1024",
	} {
		if err := transport.CheckAddress(address); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("CheckAddress(%q): %v, want an error that says %q", address, err, want)
		}
	}
}

var longAddress = strings.Repeat("x", transport.MaxAddressLen)

func TestParseID(t *testing.T) {
	for s, want := range map[string]transport.ID{
		"unix/1":                           {"unix", 1},
		"a-2/10":                           {"a-2", 10},
		strings.Repeat("x", 32) + "/1":     {strings.Repeat("x", 32), 1},
		fmt.Sprintf("unix/%d", int32(1e9)): {"unix", 1e9},
	} {
		got, err := transport.ParseID(s)
		if err != nil || got != want {
			t.Errorf("ParseID(%q) = %v, %v, want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "/", "unix", "unix/", "/1", "unix/0", "unix/-1", "unix/+1", "unix/01", "unix/1.0", "unix/1/1", "unix/ 1", "unix /1",
		"Unix/1", "1/1", "-/1", "unix/x", "unix/99999999999999999999", "unix/1\n", strings.Repeat("x", 33) + "/1",
	} {
		if got, err := transport.ParseID(s); err == nil {
			t.Errorf("ParseID(%q) = %v, want an error", s, got)
		}
	}
}

func FuzzParseID(f *testing.F) {
	for _, s := range []string{"", "unix/1", "quic-go/12", "unix/01", "unix/", "/1", "UNIX/1", "unix/-1", "a/b/1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := transport.ParseID(s)
		if err != nil {
			if id != (transport.ID{}) {
				t.Errorf("ParseID(%q) = %v beside the error %v", s, id, err)
			}
			return
		}
		if got := id.String(); got != s {
			t.Errorf("ParseID(%q).String() = %q", s, got)
		}
		if _, err := transport.NewSet(namedTransport{name: id.Name, versions: []int{id.Version}}); err != nil {
			t.Errorf("ParseID(%q) is not a valid transport: %v", s, err)
		}
	})
}

func ExampleNewSet() {
	set, err := transport.NewSet(
		namedTransport{name: "quic", versions: []int{1, 2}},
		namedTransport{name: "unix", versions: []int{1}},
	)
	fmt.Println(set.IDs(), err)

	_, err = transport.NewSet(namedTransport{name: "unix"})
	fmt.Println(err)
	// Output:
	// [quic/2 quic/1 unix/1] <nil>
	// transport unix: versions []: want at least one, each 1 or higher and listed once
}

func ExampleParseID() {
	id, err := transport.ParseID("unix/1")
	fmt.Println(id.Name, id.Version, err)

	_, err = transport.ParseID("unix")
	fmt.Println(err)
	// Output:
	// unix 1 <nil>
	// "unix" is not a transport and version such as unix/1
}

// The other side sends the address.
func ExampleCheckAddress() {
	fmt.Println(transport.CheckAddress("/run/user/1000/plugin"))
	fmt.Println(transport.CheckAddress("two\nlines") != nil)
	// Output:
	// <nil>
	// true
}
