package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

// The tests in these files use the real commands, built as a user builds them.

func TestMain(m *testing.M) { clitest.Main(m) }

func TestScripts(t *testing.T) {
	clitest.Scripts{
		Host: "streaming-host",
		Objects: map[string]any{
			"download": new(transferObject),
			"upload":   new(transferObject),
			"message":  new(messageObject),
			"status":   new(pluginStatus),
		},
		Commands: map[string]func(*testscript.TestScript, bool, []string){
			"sha256": checkSum,
			"head":   head,
		},
	}.Run(t)
}

// checkSum is "sha256 FILE": the last stdout has the checksum of the file.
func checkSum(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: sha256 FILE")
	}
	sum := sha256.Sum256([]byte(ts.ReadFile(args[0])))
	if bytes.Contains([]byte(ts.ReadFile("stdout")), []byte(hex.EncodeToString(sum[:]))) == neg {
		ts.Fatalf("the checksum of %s is %x", args[0], sum)
	}
}

// head is "head BYTES FROM TO": it writes the first bytes of one file to another.
func head(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: head BYTES FROM TO")
	}
	var n int
	for _, digit := range args[0] {
		n = n*10 + int(digit-'0')
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(ts.ReadFile(args[1]))[:n], 0o600))
}

// sameContent reports whether two files have the same bytes, in little memory.
func sameContent(a, b string) (bool, error) {
	fa, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer fb.Close()
	bufA, bufB := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		n, errA := io.ReadFull(fa, bufA)
		m, errB := io.ReadFull(fb, bufB)
		switch {
		case !bytes.Equal(bufA[:n], bufB[:m]):
			return false, nil
		case ended(errA) || ended(errB):
			return ended(errA) && ended(errB), nil
		case errA != nil || errB != nil:
			return false, errors.Join(errA, errB)
		}
	}
}

// ended reports whether an error of ReadFull means the end of the file.
func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
