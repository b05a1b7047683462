package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// bigSize is so large that memory which grows with the file would be
	// noticed.
	bigSize = 2 << 30
	// maxResident is how much memory each process may use.
	maxResident = 64 << 20
	// bigSpace is the room on the disk that the test needs: two copies of the
	// file, and some more.
	bigSpace = 2*bigSize + 1<<30
)

// TestTwoGiB sends 2 GiB up and down, and checks every byte, and the memory of
// host and plugin.
func TestTwoGiB(t *testing.T) {
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	dir := t.TempDir()
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	if free := disk.Bavail * uint64(disk.Bsize); free < bigSpace {
		t.Skipf("%d MiB are free in %s, the test takes %d", free>>20, dir, bigSpace>>20)
	}
	root, source, got := filepath.Join(dir, "root"), filepath.Join(dir, "source"), filepath.Join(dir, "got")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	writeBig(t, source)
	for _, args := range [][]string{{root, "put", source, "big"}, {root, "get", "big", got}} {
		p := start(t, args...)
		host, plugin := watch(t, p)
		if p.err != nil {
			t.Fatalf("%v: %v: %s", args, p.err, p.stderr.String())
		}
		t.Logf("%s: host %d MiB, plugin %d MiB", args[1], host>>20, plugin>>20)
		for name, resident := range map[string]int64{"host": host, "plugin": plugin} {
			if resident == 0 || resident > maxResident {
				t.Errorf("%s: the %s had %d bytes in memory, want at most %d", args[1], name, resident, maxResident)
			}
		}
	}
	checkBig(t, got) // the file has gone both ways
}

// bigPart is the size of a part of the file, which has one block that is not a
// hole.
const bigPart = 1 << 20

// bigBlocks yields the blocks of the file and their offsets: a different one in
// every part.
func bigBlocks() iter.Seq2[int64, []byte] {
	return func(yield func(int64, []byte) bool) {
		rnd := rand.NewChaCha8([32]byte{2})
		block := make([]byte, 4096)
		for part := int64(0); part < bigSize; part += bigPart {
			rnd.Read(block)
			if !yield(part+int64(block[0])<<11, block) {
				return
			}
		}
	}
}

func writeBig(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(bigSize); err != nil {
		t.Fatal(err)
	}
	for offset, block := range bigBlocks() {
		if _, err := f.WriteAt(block, offset); err != nil {
			t.Fatal(err)
		}
	}
}

// checkBig checks every byte. It does not read the source again, which would take
// as long.
func checkBig(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, want := make([]byte, bigPart), make([]byte, bigPart)
	for offset, block := range bigBlocks() {
		clear(want)
		copy(want[offset%bigPart:], block)
		if _, err := io.ReadFull(f, got); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("the file is another around %d", offset)
		}
	}
	if n, err := f.Read(got); n > 0 || !errors.Is(err, io.EOF) {
		t.Errorf("%d bytes are behind its end, %v", n, err)
	}
}

// watch waits for the host to end, and returns the peaks of the memory of host
// and plugin.
func watch(t *testing.T, p *process) (host, plugin int64) {
	t.Helper()
	var both sync.WaitGroup
	sample := func(pid int, most *int64) {
		both.Go(func() {
			for p.running() {
				*most = max(*most, peak(pid))
				select {
				case <-p.ended:
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	sample(p.cmd.Process.Pid, &host)
	sample(p.plugin, &plugin)
	both.Wait()
	return host, plugin
}

// peak returns the peak of a process's memory in bytes, or 0 after its end.
func peak(pid int) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, ok := bytes.Cut(status, []byte("VmHWM:"))
	var kib int64
	if _, err := fmt.Sscan(string(after), &kib); !ok || err != nil {
		return 0
	}
	return kib << 10
}
