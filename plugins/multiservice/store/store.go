// Package store keeps the users and entries of the protocol multi in one file,
// an embedded database (go.etcd.io/bbolt). Begin with [Open]. What a caller may
// do with them is not its business.
//
// The file holds the protocol's messages User and Entry themselves, each with a
// sum, so what may change in them without harm to hosts may change without harm to
// files.
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

// What concurrent writers share is one transaction, and so one wait for the
// disk. A writer is added to it until its wait is over or it is full.
const (
	// batchDelay is what a lone writer waits for others: less than the disk
	// takes, so that it costs little, and enough for those who were woken by the
	// end of the transaction before.
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
// moment. Writers do not wait for it, but what they replace keeps its room in
// the file until it has ended.
func (s *Store) View(ctx context.Context, read func(tx *Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return convert(s.db.View(func(tx *bbolt.Tx) error {
		return read(s.begin(tx))
	}))
}

// Update calls write with a transaction of which all is kept or nothing, and
// returns when it is on the disk. The transaction may be shared with other
// callers, but one sees what those before it have changed, as if they took
// turns. If write returns an error, nothing of what it has changed is kept.
//
// It may be called more than once; the last time counts. A context that has
// ended before its turn is an error; once the turn has come the outcome is
// waited for, as it could not be told otherwise.
func (s *Store) Update(ctx context.Context, write func(tx *Tx) error) error {
	var refused error
	turn := func(btx *bbolt.Tx) error {
		tx := s.begin(btx)
		if refused = ctx.Err(); refused == nil {
			refused = write(tx)
		}
		if !tx.changed {
			// The others in the transaction need not start over for it.
			return nil
		}
		return refused
	}
	err := convert(s.db.Batch(turn))
	if errors.Is(err, ErrFull) {
		// What has no room may be another's.
		err = convert(s.db.Update(turn))
	}
	if err != nil {
		return err
	}
	return refused
}

// convert turns what bbolt and the system say into the errors of this package.
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
