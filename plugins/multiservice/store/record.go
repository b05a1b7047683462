package store

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	"google.golang.org/protobuf/proto"
)

// A record is the sum of its key and message, and the message. bbolt has no sums
// of its pages, and after most changes a message's bytes are still a valid
// message: a user with another role, for example.

// sumSize is the length of the sum, which is CRC-32C.
const sumSize = 4

var errSum = errors.New("the sum does not fit")

// encode returns the record of m under key.
func encode(key string, m proto.Message) ([]byte, error) {
	record, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, sumSize, sumSize+proto.Size(m)), m)
	if err != nil {
		return nil, err
	}
	binary.BigEndian.PutUint32(record, sum(key, record[sumSize:]))
	return record, nil
}

// decode reads the record under key into m.
func decode(key string, record []byte, m proto.Message) error {
	if len(record) < sumSize || binary.BigEndian.Uint32(record) != sum(key, record[sumSize:]) {
		return errSum
	}
	return proto.Unmarshal(record[sumSize:], m)
}

// sum includes the key, so that a record is not valid under another key.
func sum(key string, message []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum([]byte(key), table), table, message)
}
