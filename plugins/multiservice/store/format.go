package store

import (
	"errors"
	"fmt"
	"os"

	"go.etcd.io/bbolt"
)

// format is the version of the file's contents. A release whose files an older
// release cannot read has the next version.
const format = "1"

// These are the buckets of the file, and the only key of the first.
const (
	metaBucket  = "multiservice"
	usersBucket = "users" // records of multi.User by name
	dataBucket  = "data"  // records of multi.Entry by key

	formatKey = "format"
)

// initialize makes a database of an empty file.
func initialize(tx *bbolt.Tx) error {
	for _, name := range []string{usersBucket, dataBucket} {
		if _, err := tx.CreateBucket([]byte(name)); err != nil {
			return err
		}
	}
	meta, err := tx.CreateBucket([]byte(metaBucket))
	if err != nil {
		return err
	}
	return meta.Put([]byte(formatKey), []byte(format))
}

// check returns an error unless db has its full size and is a database of this
// package. Other damage is detected when it is read.
func check(path string, db *bbolt.DB) error {
	var problem error
	if damaged := guard(path, func() { problem = db.View(func(tx *bbolt.Tx) error { return checkTx(path, tx) }) }); damaged != nil {
		return damaged
	}
	return problem
}

func checkTx(path string, tx *bbolt.Tx) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return &DamagedError{path, fmt.Errorf("the file is truncated: it has %d bytes, and needs %d", info.Size(), tx.Size())}
	}
	meta := tx.Bucket([]byte(metaBucket))
	if meta == nil {
		return fmt.Errorf("%s is a database of another program: use another directory", path)
	}
	if got := string(meta.Get([]byte(formatKey))); got != format {
		return fmt.Errorf("the database %s has format %.16q, this release knows only %q: use the release that made it", path, got, format)
	}
	if tx.Bucket([]byte(usersBucket)) == nil || tx.Bucket([]byte(dataBucket)) == nil {
		return &DamagedError{path, errors.New("a part of the database is missing")}
	}
	return nil
}
