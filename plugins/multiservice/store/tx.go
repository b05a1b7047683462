package store

import (
	"fmt"
	"iter"
	"strings"

	"go.etcd.io/bbolt"
	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

// A Tx is a transaction. It is valid until the function that gets it returns.
// Messages that it returns stay valid.
type Tx struct {
	path        string
	users, data *bbolt.Bucket
	changed     bool
}

func (s *Store) begin(tx *bbolt.Tx) *Tx {
	return &Tx{
		path:  s.path,
		users: tx.Bucket([]byte(usersBucket)),
		data:  tx.Bucket([]byte(dataBucket)),
	}
}

// HasUsers reports whether there is any user.
func (t *Tx) HasUsers() (found bool, err error) {
	err = guard(t.path, func() {
		name, _ := t.users.Cursor().First()
		found = name != nil
	})
	return found, err
}

// User returns the user of that name, or [ErrNotFound].
func (t *Tx) User(name string) (*multi.User, error) {
	user := &multi.User{}
	if err := t.get(t.users, name, user); err != nil {
		return nil, err
	}
	return user, nil
}

// PutUser stores user under its name.
func (t *Tx) PutUser(user *multi.User) error { return t.put(t.users, user.GetName(), user) }

// Entry returns the entry of that key, or [ErrNotFound].
func (t *Tx) Entry(key string) (*multi.Entry, error) {
	entry := &multi.Entry{}
	if err := t.get(t.data, key, entry); err != nil {
		return nil, err
	}
	return entry, nil
}

// PutEntry stores entry under its key.
func (t *Tx) PutEntry(entry *multi.Entry) error { return t.put(t.data, entry.GetKey(), entry) }

// Entries yields the entries whose keys begin with prefix and come after the key
// after, in the order of the keys' bytes. After an error it yields nothing more.
func (t *Tx) Entries(prefix, after string) iter.Seq2[*multi.Entry, error] {
	return func(yield func(*multi.Entry, error) bool) {
		first := prefix
		if after >= prefix {
			first = after + "\x00" // no key is between after and this key
		}
		cursor := t.data.Cursor()
		step := func() ([]byte, []byte) { return cursor.Seek([]byte(first)) }
		for {
			entry, err := t.entryAt(step)
			switch {
			case err != nil:
				yield(nil, err)
				return
			case entry == nil || !strings.HasPrefix(entry.GetKey(), prefix) || !yield(entry, nil):
				return
			}
			step = cursor.Next
		}
	}
}

// entryAt returns the entry to which step leads, or nil.
func (t *Tx) entryAt(step func() (key, record []byte)) (*multi.Entry, error) {
	var key string
	var entry *multi.Entry
	var err error
	damaged := guard(t.path, func() {
		k, record := step()
		if k == nil {
			return
		}
		key, entry = string(k), &multi.Entry{}
		err = decode(key, record, entry)
	})
	switch {
	case damaged != nil:
		return nil, damaged
	case err != nil:
		return nil, t.unreadable(key, err)
	default:
		return entry, nil
	}
}

// get reads the record under key into m.
func (t *Tx) get(bucket *bbolt.Bucket, key string, m proto.Message) error {
	found := false
	var err error
	damaged := guard(t.path, func() {
		if record := bucket.Get([]byte(key)); record != nil {
			found, err = true, decode(key, record, m)
		}
	})
	switch {
	case damaged != nil:
		return damaged
	case err != nil:
		return t.unreadable(key, err)
	case !found:
		return ErrNotFound
	default:
		return nil
	}
}

func (t *Tx) put(bucket *bbolt.Bucket, key string, m proto.Message) error {
	record, err := encode(key, m)
	if err != nil {
		return err
	}
	t.changed = true
	var problem error
	if damaged := guard(t.path, func() { problem = bucket.Put([]byte(key), record) }); damaged != nil {
		return damaged
	}
	return problem
}

func (t *Tx) unreadable(key string, err error) error {
	return &DamagedError{t.path, fmt.Errorf("the record of %.64q: %w", key, err)}
}
