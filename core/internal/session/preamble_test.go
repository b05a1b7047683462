package session

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// preambleVector is an item of "preambles" in the handshake's vectors.
type preambleVector struct {
	Name string
	Hex  string

	Purpose Purpose
	Stream  string
	Session string
	RestHex string `json:"rest_hex"`
	Error   bool
	Written bool
}

func readVectors(tb testing.TB) []preambleVector {
	tb.Helper()
	data, err := os.ReadFile("../../handshake/testdata/vectors.json")
	if err != nil {
		tb.Fatal(err)
	}
	var all struct{ Preambles []preambleVector }
	if err := json.Unmarshal(data, &all); err != nil {
		tb.Fatal(err)
	}
	if len(all.Preambles) == 0 {
		tb.Fatal("no preambles")
	}
	return all.Preambles
}

func TestVectors(t *testing.T) {
	for _, v := range readVectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			data := unhex(t, v.Hex)
			r := bytes.NewReader(data)
			got, err := ReadPreamble(r)
			if v.Error {
				if err == nil {
					t.Errorf("read as %+v, want an error", got)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(Preamble{Purpose: v.Purpose, Name: v.Stream, Session: v.Session}, got); diff != "" {
				t.Errorf("preamble (-want +got):\n%s", diff)
			}
			rest, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			if want := unhex(t, v.RestHex); !bytes.Equal(rest, want) {
				t.Errorf("%x is left to read, want %x", rest, want)
			}
			if v.Written {
				checkWritten(t, got, data)
			}
		})
	}
}

func checkWritten(t *testing.T, p Preamble, want []byte) {
	t.Helper()
	var written bytes.Buffer
	n, err := p.WriteTo(&written)
	if err != nil {
		t.Fatal(err)
	}
	if int(n) != len(want) || !bytes.Equal(written.Bytes(), want) {
		t.Errorf("%d bytes written: %x, want %x", n, written.Bytes(), want)
	}
}

// TestPreambleIsOneWrite checks that a connection can carry the preamble in one packet.
func TestPreambleIsOneWrite(t *testing.T) {
	var w countingWriter
	if _, err := (Preamble{Purpose: Calls, Name: "name"}).WriteTo(&w); err != nil {
		t.Fatal(err)
	}
	if w != 1 {
		t.Errorf("%d writes, want 1", w)
	}
}

type countingWriter int

func (w *countingWriter) Write(b []byte) (int, error) {
	*w++
	return len(b), nil
}

func TestNameTooLongToWrite(t *testing.T) {
	var w bytes.Buffer
	_, err := Preamble{Purpose: Calls, Name: strings.Repeat("a", maxName+1)}.WriteTo(&w)
	if err == nil || w.Len() > 0 {
		t.Errorf("error %v and %d bytes written, want an error and none", err, w.Len())
	}
}

func FuzzReadPreamble(f *testing.F) {
	for _, v := range readVectors(f) {
		f.Add(unhex(f, v.Hex))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		p, err := ReadPreamble(r)
		if err != nil {
			return
		}
		checkWritten(t, p, data[:len(data)-r.Len()])
	})
}

func unhex(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
