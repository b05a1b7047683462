// Package store keeps the users and entries of the protocol multi in one file,
// an embedded database (go.etcd.io/bbolt). Begin with [Open]. It does not check
// permissions.
//
// The file holds the protocol's messages User and Entry themselves, each with a
// sum, so a change of the messages that is compatible for hosts is also compatible
// for files.
package store

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// Concurrent writers share one transaction, and so one wait for the disk.
// Writers join a transaction until its delay is over or it is full.
const (
	// batchDelay is how long a single writer waits for others: less than the
	// disk takes, so that it costs little, and enough for the writers that the
	// end of the last transaction has woken.
	batchDelay = time.Millisecond
	// batchWriters bounds a transaction's memory: with the greatest values it is
	// 64 MiB.
	batchWriters = 64
)

var (
	// ErrNotFound means that there is no record of that name or key.
	ErrNotFound = errors.New("not found")
	// ErrFull means that the disk or the database has no more room. Nothing was
	// written.
	ErrFull = errors.New("no room to store more")
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("the database is closed")
)

// A Store is an open database. Its methods are safe for concurrent use.
type Store struct {
	db   *bbolt.DB
	path string
}

// Close waits for the transactions under way and closes the database. Those
// that come later fail with [ErrClosed].
func (s *Store) Close() error { return s.db.Close() }

// View calls read with a transaction in which everything is as it was at one
// moment. Writers do not wait for it, but replaced data keeps its room in the
// file until the transaction has ended.
func (s *Store) View(ctx context.Context, read func(tx *Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return convert(s.db.View(func(tx *bbolt.Tx) error {
		return read(s.begin(tx))
	}))
}

// Update calls write with a transaction that is kept in whole or not at all,
// and returns when it is on the disk. Other callers may share the transaction:
// a caller sees the changes of those before it, as if they ran one after the
// other. If write returns an error, none of its changes are kept.
//
// write may be called more than once; the last call counts. If ctx ends before
// write is called, Update returns its error. After that Update waits for the
// outcome, because it could not know the outcome otherwise.
func (s *Store) Update(ctx context.Context, write func(tx *Tx) error) error {
	var refused error
	turn := func(btx *bbolt.Tx) error {
		tx := s.begin(btx)
		if refused = ctx.Err(); refused == nil {
			refused = write(tx)
		}
		if !tx.changed {
			// The others in the transaction need not start again because of it.
			return nil
		}
		return refused
	}
	err := convert(s.db.Batch(turn))
	if errors.Is(err, ErrFull) {
		// The data without room may be another caller's.
		err = convert(s.db.Update(turn))
	}
	if err != nil {
		return err
	}
	return refused
}

// convert turns errors of bbolt and the system into the errors of this package.
func convert(err error) error {
	switch {
	case errors.Is(err, bolterrors.ErrDatabaseNotOpen):
		return ErrClosed
	case errors.Is(err, bolterrors.ErrMaxSizeReached), errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	default:
		return err
	}
}
