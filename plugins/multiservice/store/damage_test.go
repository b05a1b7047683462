package store

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

// sample returns the bytes of a database with many pages, closed properly.
func sample(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	s := mustOpen(t, dir)
	for i := range 4 {
		if err := s.Update(t.Context(), func(tx *Tx) error {
			for j := range 200 {
				if err := putter(fmt.Sprintf("key%d/%03d", j, i), strings.Repeat("value", 20))(tx); err != nil {
					return err
				}
			}
			return putter(fmt.Sprintf("large%d", i), strings.Repeat("x", 20<<10))(tx)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// use opens a database with the content data and reads all of it. Then it
// writes to the database, even after an error. It returns the first error, and
// fails the test unless that is a DamagedError that names the file.
func use(t *testing.T, data []byte) error {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, fileName)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir)
	if err == nil {
		_, err = readAll(t, s)
		if err == nil {
			err = s.View(t.Context(), func(tx *Tx) error {
				_, err := tx.HasUsers()
				return err
			})
		}
		if written := s.Update(t.Context(), func(tx *Tx) error {
			return errors.Join(putter("key100/001", "new")(tx), putter("large2", strings.Repeat("new", 20<<10))(tx))
		}); err == nil {
			err = written
		}
		if closed := s.Close(); closed != nil {
			t.Errorf("close: %v", closed)
		}
	}
	var damaged *DamagedError
	if err != nil && (!errors.As(err, &damaged) || damaged.Path != path || !strings.Contains(err.Error(), path+" is damaged: ")) {
		t.Errorf("error %v, want a DamagedError of %s", err, path)
	}
	return err
}

func TestDamagedAsAWhole(t *testing.T) {
	data := sample(t)
	if err := use(t, data); err != nil {
		t.Fatalf("undamaged: %v", err)
	}
	for _, tt := range []struct {
		name string
		data []byte
	}{
		{"empty", nil},
		{"a text", []byte("hello")},
		{"a long text", []byte(strings.Repeat("hello", 10_000))},
		{"zeros", make([]byte, len(data))},
		{"one page", data[:4096]},
		{"no beginning", data[2*4096:]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if use(t, tt.data) == nil {
				t.Error("it was opened")
			}
		})
	}
}

// A truncated file is detected before bbolt maps it, and is not made longer.
func TestDamagedByCuttingOff(t *testing.T) {
	data := sample(t)
	refused := 0
	for size := 4096; size < len(data); size += 3 * 4096 {
		if use(t, data[:size]) != nil {
			refused++
		}
	}
	if refused == 0 {
		t.Error("every one was opened")
	}
}

// Damage to any page causes at most an error, and never ends the process.
func TestDamagedPages(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	data := sample(t)
	found := 0
	const page = 4096
	for at := 2 * page; at < len(data); at += page {
		for _, fill := range []func() byte{
			func() byte { return 0 },
			func() byte { return 0xff },
			func() byte { return byte(random.Uint32()) },
		} {
			damaged := append([]byte(nil), data...)
			for i := range 64 { // header of the page and the start of its data
				damaged[at+i] = fill()
			}
			if use(t, damaged) != nil {
				found++
			}
		}
	}
	if found < 30 {
		t.Errorf("%d were found, in %d pages", found, len(data)/page)
	}
}

// Any change of a record is detected, even if the result is a valid message,
// and so is a record of another key.
func TestDamagedRecords(t *testing.T) {
	record, err := encode("a", &multi.Entry{Key: "a", Value: []byte("value")})
	if err != nil {
		t.Fatal(err)
	}
	type test struct{ name, key, record string }
	tests := []test{
		{"empty", "a", ""},
		{"of another key", "b", string(record)},
		{"too long", "a", string(record) + "\x00"},
	}
	for i := range record {
		changed := bytes.Clone(record)
		changed[i] ^= 1
		tests = append(tests,
			test{fmt.Sprintf("byte %d changed", i), "a", string(changed)},
			test{fmt.Sprintf("of %d bytes", i), "a", string(record[:i])})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustOpen(t, t.TempDir())
			put(t, s, "0", "x")
			tx, err := s.db.Begin(true)
			if err != nil {
				t.Fatal(err)
			}
			for _, bucket := range []string{usersBucket, dataBucket} {
				if err := tx.Bucket([]byte(bucket)).Put([]byte(tt.key), []byte(tt.record)); err != nil {
					t.Fatal(err)
				}
			}
			if err := tx.Commit(); err != nil {
				t.Fatal(err)
			}
			check := func(what string, err error) {
				t.Helper()
				var damaged *DamagedError
				if want := fmt.Sprintf("the record of %q", tt.key); !errors.As(err, &damaged) || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: error %v, want a DamagedError with %q", what, err, want)
				}
			}
			found, err := readAll(t, s)
			check("Entries", err)
			if len(found) != 1 {
				t.Errorf("entries before it: %v, want 1", found)
			}
			if err := s.View(t.Context(), func(tx *Tx) error {
				_, err := tx.User(tt.key)
				check("User", err)
				_, err = tx.Entry(tt.key)
				check("Entry", err)
				return nil
			}); err != nil {
				t.Error(err)
			}
		})
	}
}
