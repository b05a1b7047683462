package store

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mustOpen opens the database in dir, and closes it when the test ends.
func mustOpen(tb testing.TB, dir string) *Store {
	tb.Helper()
	s, err := Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// put stores a value under a key in a transaction.
func put(t *testing.T, s *Store, key, value string) {
	t.Helper()
	if err := s.Update(t.Context(), putter(key, value)); err != nil {
		t.Fatal(err)
	}
}

func putter(key, value string) func(*Tx) error {
	return func(tx *Tx) error { return tx.PutEntry(&multi.Entry{Key: key, Value: []byte(value)}) }
}

// values returns what is stored, as key=value.
func values(t *testing.T, s *Store) []string {
	t.Helper()
	found, err := readAll(t, s)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func readAll(t *testing.T, s *Store) (found []string, err error) {
	t.Helper()
	err = s.View(t.Context(), func(tx *Tx) error {
		for entry, err := range tx.Entries("", "") {
			if err != nil {
				return err
			}
			found = append(found, entry.GetKey()+"="+string(entry.GetValue()))
		}
		return nil
	})
	return found, err
}
