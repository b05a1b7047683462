package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

func TestUsers(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	if err := s.Update(t.Context(), func(tx *Tx) error {
		if has, err := tx.HasUsers(); has || err != nil {
			t.Errorf("a new database has users: %v, %v", has, err)
		}
		if _, err := tx.User("ann"); !errors.Is(err, ErrNotFound) {
			t.Errorf("error %v, want ErrNotFound", err)
		}
		return tx.PutUser(&multi.User{Name: "ann", Role: multi.Role_ROLE_ADMIN})
	}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mustOpen(t, dir).View(t.Context(), func(tx *Tx) error {
		if has, err := tx.HasUsers(); !has || err != nil {
			t.Errorf("there are users: %v, %v", has, err)
		}
		user, err := tx.User("ann")
		if user.GetName() != "ann" || user.GetRole() != multi.Role_ROLE_ADMIN {
			t.Errorf("user %v", user)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestEntries(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	for _, key := range []string{"b", "a", "ab", "a\x00", "ä", "aa", "B", "\U0010ffff"} {
		put(t, s, key, "")
	}
	for _, tt := range []struct {
		name          string
		prefix, after string
		want          []string
	}{
		{"all, in the order of bytes", "", "", []string{"B", "a", "a\x00", "aa", "ab", "b", "ä", "\U0010ffff"}},
		{"prefix", "a", "", []string{"a", "a\x00", "aa", "ab"}},
		{"after one that is there", "a", "a", []string{"a\x00", "aa", "ab"}},
		{"after one that is not", "a", "aaa", []string{"ab"}},
		{"after the last", "a", "ab", nil},
		{"after all", "", "\U0010ffff", nil},
		{"after one before the prefix", "a", "B", []string{"a", "a\x00", "aa", "ab"}},
		{"after one behind the prefix", "a", "b", nil},
		{"no such prefix", "c", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			if err := s.View(t.Context(), func(tx *Tx) error {
				for entry, err := range tx.Entries(tt.prefix, tt.after) {
					if err != nil {
						return err
					}
					got = append(got, entry.GetKey())
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("keys (-want +got):\n%s", diff)
			}
		})
	}
}

// Each of the transactions that share one is kept or not on its own, and its
// caller gets its error.
func TestUpdateKeepsAllOrNothing(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	refusal := errors.New("refused")
	const writers = 40 // of each kind, more than fit into one transaction
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			if err := s.Update(t.Context(), putter(fmt.Sprintf("kept%02d", i), "x")); err != nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
		wg.Go(func() {
			if err := s.Update(t.Context(), func(*Tx) error { return refusal }); !errors.Is(err, refusal) {
				t.Errorf("one that changes nothing: error %v, want %v", err, refusal)
			}
		})
		wg.Go(func() {
			err := s.Update(t.Context(), func(tx *Tx) error {
				if err := putter(fmt.Sprintf("undone%02d", i), "x")(tx); err != nil {
					return err
				}
				return refusal
			})
			if !errors.Is(err, refusal) {
				t.Errorf("one that changes something: error %v, want %v", err, refusal)
			}
		})
	}
	wg.Wait()
	var want []string
	for i := range writers {
		want = append(want, fmt.Sprintf("kept%02d=x", i))
	}
	if diff := cmp.Diff(want, values(t, s)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

// Transactions see the changes of those before them, shared or not.
func TestUpdatesTakeTurns(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	const writers, times = 8, 25
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range times {
				if err := s.Update(t.Context(), func(tx *Tx) error {
					entry, err := tx.Entry("n")
					if err != nil && !errors.Is(err, ErrNotFound) {
						return err
					}
					return tx.PutEntry(&multi.Entry{Key: "n", Version: entry.GetVersion() + 1})
				}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := s.View(t.Context(), func(tx *Tx) error {
		entry, err := tx.Entry("n")
		if entry.GetVersion() != writers*times {
			t.Errorf("counted to %d, want %d", entry.GetVersion(), writers*times)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func TestUpdateWhosePanicIsItsCallers(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	func() {
		defer func() {
			if reason := recover(); reason != "mistake" {
				t.Errorf("recovered %v, want the panic of the function", reason)
			}
		}()
		_ = s.Update(t.Context(), func(tx *Tx) error {
			if err := putter("a", "x")(tx); err != nil {
				return err
			}
			panic("mistake")
		})
	}()
	put(t, s, "b", "x")
	if diff := cmp.Diff([]string{"b=x"}, values(t, s)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestContextThatHasEnded(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.View(ctx, func(*Tx) error { t.Error("read"); return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("View: %v, want Canceled", err)
	}
	if err := s.Update(ctx, putter("a", "x")); !errors.Is(err, context.Canceled) {
		t.Errorf("Update: %v, want Canceled", err)
	}
	if got := values(t, s); len(got) > 0 {
		t.Errorf("stored %v", got)
	}
}

// A context that ends when the function has been called does not make the
// outcome unknown.
func TestContextThatEndsMeanwhile(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := s.Update(ctx, func(tx *Tx) error {
		cancel()
		return putter("a", "x")(tx)
	}); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"a=x"}, values(t, s)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}

func TestClosed(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := s.View(t.Context(), func(*Tx) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("View: %v, want ErrClosed", err)
	}
	if err := s.Update(t.Context(), putter("a", "x")); !errors.Is(err, ErrClosed) {
		t.Errorf("Update: %v, want ErrClosed", err)
	}
}

// When there is no more room, the stored data stays and can be read.
func TestFull(t *testing.T) {
	dir := t.TempDir()
	s, err := open(dir, config{lockWait: lockWait, maxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	value := strings.Repeat("x", 64<<10)
	var want []string
	for i := 0; ; i++ {
		if i == 100 {
			t.Fatal("100 values of 64 KiB fit into 1 MiB")
		}
		key := fmt.Sprintf("%02d", i)
		if err = s.Update(t.Context(), putter(key, value)); err != nil {
			break
		}
		want = append(want, key+"="+value)
	}
	if !errors.Is(err, ErrFull) || len(want) == 0 {
		t.Errorf("error %v after %d values, want ErrFull after some", err, len(want))
	}
	if diff := cmp.Diff(want, values(t, s)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(want, values(t, mustOpen(t, dir))); diff != "" {
		t.Errorf("stored, after opening it again (-want +got):\n%s", diff)
	}
}

// Data without room does not affect the others in its transaction.
func TestFullForOne(t *testing.T) {
	s, err := open(t.TempDir(), config{lockWait: lockWait, maxSize: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.db.MaxBatchSize, s.db.MaxBatchDelay = 2, time.Minute // the two share a transaction
	var small, large error
	var wg sync.WaitGroup
	wg.Go(func() { small = s.Update(t.Context(), putter("small", "x")) })
	wg.Go(func() { large = s.Update(t.Context(), putter("large", strings.Repeat("x", 2<<20))) })
	wg.Wait()
	if small != nil || !errors.Is(large, ErrFull) {
		t.Errorf("small: %v, large: %v, want ErrFull", small, large)
	}
	if diff := cmp.Diff([]string{"small=x"}, values(t, s)); diff != "" {
		t.Errorf("stored (-want +got):\n%s", diff)
	}
}
