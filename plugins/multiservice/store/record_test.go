package store

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
)

// FuzzRecord checks that decode returns what encode was given, under its key.
// Any other bytes are an error, or decode to a message that encodes to them.
func FuzzRecord(f *testing.F) {
	good, err := encode("key", &multi.Entry{Key: "key", Value: []byte("value"), Version: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("key", good)
	f.Add("other", good)
	f.Add("key", []byte(nil))
	f.Add("key", good[:sumSize])
	f.Fuzz(func(t *testing.T, key string, record []byte) {
		entry := &multi.Entry{}
		if decode(key, record, entry) != nil {
			entry = &multi.Entry{Value: record}
		}
		again, err := encode(key, entry)
		if err != nil {
			t.Fatal(err)
		}
		decoded := &multi.Entry{}
		if err := decode(key, again, decoded); err != nil || !proto.Equal(entry, decoded) {
			t.Errorf("decoded as %v, %v, want %v", decoded, err, entry)
		}
	})
}
