package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/bbolt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/core/host"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/transport/unix"
)

const (
	kills   = 20
	callers = 64
	// maxAcknowledged bounds how many writes are acknowledged in a round before
	// its plugin is killed.
	maxAcknowledged = 500
	// keysPerCaller is so low that each key is written several times, and so
	// high that there are always new keys.
	keysPerCaller = 20
	// maxContent is the size of several pages of the database.
	maxContent = 20 << 10

	roundTimeout = 30 * time.Second
)

// A cell is what the test knows about one key. Only one caller writes it, one call
// at a time.
type cell struct {
	key          string
	tried        int // number of the last call, 0 before the first
	acknowledged int // number of the last acknowledged call
}

// newCells returns the cells of each caller.
func newCells() [][]cell {
	cells := make([][]cell, callers)
	for i := range cells {
		cells[i] = make([]cell, keysPerCaller)
		for j := range cells[i] {
			cells[i][j].key = fmt.Sprintf("caller%02d/%02d", i, j)
		}
	}
	return cells
}

// content returns the value that call number n stores under key. The test detects
// any change of it: it begins with its number, and the rest follows from the
// number.
func content(key string, n int) []byte {
	head := fmt.Sprintf("%s %d ", key, n)
	sum := sha256.Sum256([]byte(head))
	size := int(sum[0])<<8 | int(sum[1])
	return []byte(head + strings.Repeat(string(sum[:]), size%maxContent/len(sum)))
}

// TestKilledWhileCallersWrite kills the plugin again and again while callers
// store. In the next process, every acknowledged write is there, any other
// write is there in whole or not at all, and the database opens each time.
func TestKilledWhileCallersWrite(t *testing.T) {
	dir := t.TempDir()
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d", seed)
	cells := newCells()
	total, kept := 0, 0
	for round := range kills {
		p, err := launch(t.Context(), dir, unix.New())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if round == 0 {
			if _, err := multi.NewUserServiceClient(p).CreateUser(t.Context(), &multi.CreateUserRequest{Name: "root", Role: multi.Role_ROLE_ADMIN}); err != nil {
				t.Fatal(err)
			}
		} else {
			kept += verify(t, p, cells)
		}
		total += writeUntilKilled(t, p, cells, 1+random.IntN(maxAcknowledged))
	}
	p := mustLaunch(t, dir, unix.New())
	kept += verify(t, p, cells)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	checkFile(t, dir)
	t.Logf("%d kills, %d writes acknowledged; of those that were not, %d are there", kills, total, kept)
}

// checkFile runs the database's own check over every page.
func checkFile(t *testing.T, dir string) {
	t.Helper()
	db, err := bbolt.Open(filepath.Join(dir, "multiservice.db"), 0o600, &bbolt.Options{ReadOnly: true, Timeout: roundTimeout})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bbolt.Tx) error {
		for problem := range tx.Check() {
			t.Errorf("the database's check: %v", problem)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// writeUntilKilled lets all callers store until the plugin is killed, after the
// given number of acknowledged calls. It returns how many calls were acknowledged.
func writeUntilKilled(t *testing.T, p *host.Plugin, cells [][]cell, acknowledged int) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), roundTimeout)
	defer cancel()
	process, err := os.FindProcess(p.Info().PID)
	if err != nil {
		t.Fatal(err)
	}
	client := multi.NewDataServiceClient(p)
	var count atomic.Int64
	var wg sync.WaitGroup
	for _, own := range cells {
		wg.Go(func() {
			for i := 0; ; i++ {
				c := &own[i%len(own)]
				c.tried++
				if _, err := client.StoreData(ctx, &multi.StoreRequest{Caller: "root", Key: c.key, Value: content(c.key, c.tried)}); err != nil {
					if status.Code(err) != codes.Unavailable {
						t.Errorf("%s: %v, want Unavailable", c.key, err)
					}
					return
				}
				c.acknowledged = c.tried
				if count.Add(1) == int64(acknowledged) {
					if err := process.Kill(); err != nil {
						t.Errorf("kill: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
	if count.Load() < int64(acknowledged) {
		p.Close()
		t.Fatalf("%d calls were acknowledged, and then no more", count.Load())
	}
	select {
	case <-p.Done():
	case <-ctx.Done():
		t.Fatal("the killed plugin is still running")
	}
	return int(count.Load())
}

// verify checks the stored value of each cell. If the value of an unacknowledged
// call is there, the call counts as acknowledged. verify returns the number of
// these calls.
func verify(t *testing.T, p grpc.ClientConnInterface, cells [][]cell) (kept int) {
	t.Helper()
	stored := readAll(t, p)
	for i := range cells {
		for j := range cells[i] {
			c := &cells[i][j]
			value, ok := stored[c.key]
			delete(stored, c.key)
			switch {
			case ok && c.acknowledged > 0 && string(value) == string(content(c.key, c.acknowledged)):
			case ok && string(value) == string(content(c.key, c.tried)):
				c.acknowledged = c.tried
				kept++
			case !ok && c.acknowledged == 0:
			default:
				t.Fatalf("%s has %.40q (%d bytes, there: %v), want that of call %d, or in whole that of call %d",
					c.key, value, len(value), ok, c.acknowledged, c.tried)
			}
		}
	}
	if len(stored) > 0 {
		t.Fatalf("%d entries are there that no caller stored", len(stored))
	}
	return kept
}

// readAll returns all stored values. It calls as a user with the permission to
// read.
func readAll(t *testing.T, p grpc.ClientConnInterface) map[string][]byte {
	t.Helper()
	stored := map[string][]byte{}
	client := multi.NewDataServiceClient(p)
	request := &multi.QueryRequest{Caller: "root", PageSize: 1000}
	for {
		response, err := client.QueryData(t.Context(), request)
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range response.GetEntries() {
			stored[entry.GetKey()] = entry.GetValue()
		}
		if request.PageToken = response.GetNextPageToken(); request.PageToken == "" {
			return stored
		}
	}
}
