package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/plugwire/plugwire/plugins/hostcli"
	"github.com/plugwire/plugwire/plugins/hostcli/clitest"
)

// patience bounds a wait for what happens soon unless the machine is very busy.
const patience = 2 * time.Minute

// seedEnv repeats a run, but for the timing of processes.
const seedEnv = "PLUGWIRE_SOAK_SEED"

func random(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d", seedEnv, seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// A process is a host that runs, with -json.
type process struct {
	cmd    *exec.Cmd
	stdout *bufio.Scanner
	stderr bytes.Buffer
	plugin int // its process
	ended  chan struct{}
	result transferred // when ended is closed
	err    error
}

// run starts the host and returns when its plugin runs.
func run(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), clitest.Path("streaming-host"), append([]string{"-json"}, args...)...), ended: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewScanner(stdout)
	var c hostcli.Connection
	if !p.stdout.Scan() || json.Unmarshal(p.stdout.Bytes(), &c) != nil || c.PID == 0 {
		t.Fatalf("no connection: %v %s", p.cmd.Wait(), p.stderr.String())
	}
	p.plugin = c.PID
	go func() {
		defer close(p.ended)
		for p.stdout.Scan() {
			if r := (transferred{}); json.Unmarshal(p.stdout.Bytes(), &r) == nil && r.Type != "error" {
				p.result = r
			}
		}
		p.err = p.cmd.Wait()
	}()
	return p
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// TestSoakKilled kills a transfer over and over, the host or the plugin, at
// random points, and has it go on, until all of the file is there.
func TestSoakKilled(t *testing.T) {
	rnd := random(t)
	dir := t.TempDir()
	root, source := filepath.Join(dir, "root"), filepath.Join(dir, "source")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 32<<20+12345)
	rand.NewChaCha8([32]byte{1}).Read(data)
	if err := os.WriteFile(source, data, 0o600); err != nil {
		t.Fatal(err)
	}
	rounds := 3
	if os.Getenv("PLUGWIRE_SOAK") == "full" {
		rounds = 40
	}
	for round := range rounds {
		name := fmt.Sprint("file", round)
		sent, got := filepath.Join(root, name), filepath.Join(dir, name)
		untilDone(t, rnd, filepath.Join(root, ".plugwire-uploads", "*"), int64(len(data)),
			"-root", root, "put", "-overwrite", source, name)
		mustBeSame(t, source, sent)
		untilDone(t, rnd, got+".part", int64(len(data)), "-root", root, "get", "-overwrite", name, got)
		mustBeSame(t, source, got)
		left, err := os.ReadDir(root)
		if err != nil || len(left) != 1 {
			t.Errorf("left in the root: %v, %v", left, err)
		}
		parts, err := filepath.Glob(filepath.Join(dir, "*.part"))
		if err != nil || len(parts) != 0 {
			t.Errorf("left: %v, %v", parts, err)
		}
		if err := os.Remove(sent); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(got); err != nil {
			t.Fatal(err)
		}
	}
}

func mustBeSame(t *testing.T, want, got string) {
	t.Helper()
	if same, err := sameContent(want, got); !same || err != nil {
		t.Fatalf("%s is not %s: %v", got, want, err)
	}
}

// untilDone runs a command until it succeeds, and kills it a few times before
// that, each time when some more has arrived in the files that match.
func untilDone(t *testing.T, rnd *rand.Rand, arriving string, size int64, args ...string) {
	t.Helper()
	kills, arrived := 0, int64(0)
	for deadline := time.Now().Add(patience); ; {
		target := size // not to be killed
		if kills < 3 {
			target = arrived + 1 + rnd.Int64N((size-arrived)/2)
		}
		p := run(t, args...)
		for p.running() && (target == size || sizeOf(t, arriving) < target) {
			if time.Now().After(deadline) {
				t.Fatalf("%v does not get on", args)
			}
			select {
			case <-p.ended:
			case <-time.After(time.Millisecond):
			}
		}
		if !p.running() && p.err == nil {
			if kills > 0 && p.result.ResumedAt == 0 {
				t.Errorf("%v was killed %d times, the last time with %d bytes, and has begun again", args, kills, arrived)
			}
			t.Logf("%v: %d kills, resumed at %d of %d", args[len(args)-3:], kills, p.result.ResumedAt, p.result.Bytes)
			return
		}
		if !p.running() {
			t.Fatalf("%v: %v: %s", args, p.err, p.stderr.String())
		}
		who := p.cmd.Process
		if rnd.IntN(2) == 0 {
			var err error
			if who, err = os.FindProcess(p.plugin); err != nil {
				t.Fatal(err)
			}
		}
		if err := who.Kill(); err != nil && p.running() {
			t.Fatal(err)
		}
		<-p.ended
		for clitest.Exited(p.plugin) != nil {
			if time.Now().After(deadline) {
				t.Fatal("the plugin outlives its host")
			}
			time.Sleep(time.Millisecond)
		}
		kills++
		if now := sizeOf(t, arriving); now < arrived {
			t.Errorf("%d bytes are there after a kill, and %d were before", now, arrived)
		} else {
			arrived = now
		}
		if p.err == nil || arrived == 0 { // it was done before the kill came
			return
		}
		if !strings.Contains(fmt.Sprint(p.err), "exit status 1") && !strings.Contains(fmt.Sprint(p.err), "killed") {
			t.Errorf("%v: %v: %s", args, p.err, p.stderr.String())
		}
	}
}

// sizeOf returns the size of all files that match.
func sizeOf(t *testing.T, pattern string) (size int64) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err == nil {
			size += info.Size()
		}
	}
	return size
}
