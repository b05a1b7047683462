package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/plugwire/plugwire/plugins/streaming/streaming"
	"github.com/plugwire/plugwire/transport/unix"
)

// patience bounds a wait for something that happens soon, unless the machine is
// very busy.
const patience = 2 * time.Minute

// seedEnv repeats a run, except for the timing of processes.
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

// transferMain is the main function of a host that makes one transfer: "put FILE NAME" or "get NAME FILE", after the
// root. It prints the process of its plugin, and in the end where the transfer began.
func transferMain(args []string) error {
	ctx := context.Background()
	p, err := launch(ctx, unix.New(), "-root", args[0])
	if err != nil {
		return err
	}
	fmt.Println(p.Info().PID)
	client := streaming.NewStreamingServiceClient(p)
	var began int64
	if args[1] == "put" {
		var response *streaming.UploadResponse
		response, err = put(ctx, client, args[2], args[3])
		began = response.GetOffset()
	} else {
		began, err = get(ctx, client, args[2], args[3])
	}
	fmt.Println(began)
	return errors.Join(err, p.Close())
}

// A process is a running host that makes a transfer.
type process struct {
	cmd    *exec.Cmd
	stdout *bufio.Scanner
	stderr bytes.Buffer
	plugin int // its process
	ended  chan struct{}
	began  int64 // valid when ended is closed
	err    error
}

// start starts a host with the arguments of [transferMain], and returns when its plugin runs.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), path("transfer"), args...), ended: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), binVariable+"="+bin)
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.stdout = bufio.NewScanner(stdout)
	if !p.stdout.Scan() {
		t.Fatalf("no plugin: %v %s", p.cmd.Wait(), p.stderr.String())
	}
	if p.plugin, err = strconv.Atoi(p.stdout.Text()); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		for p.stdout.Scan() {
			p.began, _ = strconv.ParseInt(p.stdout.Text(), 10, 64) // a line that was cut off by a kill does not matter
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

// TestSoakKilled kills the host or the plugin of a transfer at random points,
// and continues the transfer, until the file is complete.
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
		rounds = 12
	}
	for round := range rounds {
		name := fmt.Sprint("file", round)
		sent, got := filepath.Join(root, name), filepath.Join(dir, name)
		size := int64(len(data))
		journey{
			[]string{root, "put", source, name},
			source, size, filepath.Join(root, ".plugwire-uploads", "*"), sent,
		}.untilDone(t, rnd)
		journey{
			[]string{root, "get", name, got},
			source, size, got + ".part", got,
		}.untilDone(t, rnd)
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

// A journey is a transfer of a file that is killed on its way.
type journey struct {
	args     []string // of transferMain
	source   string
	size     int64  // content of the source
	arriving string // pattern of the file that holds the data until it is complete
	arrived  string // path of the complete file
}

// untilDone runs the transfer until it is done, and kills it a few times before
// that, each time when more has arrived. The last time all data may have
// arrived, and only the name is missing.
func (j journey) untilDone(t *testing.T, rnd *rand.Rand) {
	t.Helper()
	deadline := time.Now().Add(patience)
	kills, there := 0, int64(0)
	for j.absent(t) {
		target := int64(math.MaxInt64) // this run is not killed
		switch {
		case kills < 2:
			target = there + 1 + rnd.Int64N((j.size-there)/2)
		case kills == 2:
			target = max(there+1, j.size-rnd.Int64N(2)*rnd.Int64N((j.size-there)/2))
		}
		p := start(t, j.args...)
		for p.running() && sizeOf(t, j.arriving) < target {
			if time.Now().After(deadline) {
				t.Fatalf("%v does not get on", j.args)
			}
			select {
			case <-p.ended:
			case <-time.After(time.Millisecond):
			}
		}
		if p.running() {
			p.kill(t, rnd, deadline)
			kills++
			if now := sizeOf(t, j.arriving); now >= there && now > 0 {
				there = now
			} else if j.absent(t) {
				t.Errorf("%d bytes are there after kill %d, and %d were before", now, kills, there)
			}
			continue
		}
		if p.err != nil {
			t.Fatalf("%v: %v: %s", j.args, p.err, p.stderr.String())
		}
		if p.began < there {
			t.Errorf("%v resumed at %d where %d were there", j.args, p.began, there)
		}
	}
	t.Logf("%s: %d kills, the last with %d of %d bytes there", filepath.Base(j.arrived), kills, there, j.size)
}

// absent reports whether the file has not arrived. A file that has arrived must
// be complete.
func (j journey) absent(t *testing.T) bool {
	t.Helper()
	if _, err := os.Stat(j.arrived); os.IsNotExist(err) {
		return true
	}
	if same, err := sameContent(j.source, j.arrived); !same || err != nil {
		t.Fatalf("%s is not %s: %v", j.arrived, j.source, err)
	}
	return false
}

// kill kills the host or its plugin, and waits for both to end.
func (p *process) kill(t *testing.T, rnd *rand.Rand, deadline time.Time) {
	t.Helper()
	victim := p.cmd.Process
	if rnd.IntN(2) == 0 {
		var err error
		if victim, err = os.FindProcess(p.plugin); err != nil {
			t.Fatal(err)
		}
		defer victim.Release()
	}
	if err := victim.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	<-p.ended
	for isRunning(p.plugin) {
		if time.Now().After(deadline) {
			t.Fatal("the plugin outlives its host")
		}
		time.Sleep(time.Millisecond)
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

// isRunning reports whether the process runs.
func isRunning(pid int) bool {
	p, err := os.FindProcess(pid)
	if err != nil {
		return false
	}
	defer p.Release() // on Linux a process has a descriptor
	return !errors.Is(p.Signal(syscall.Signal(0)), os.ErrProcessDone)
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
