package glue

import (
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
)

// FuzzFields checks that the decoder of options accepts any bytes.
func FuzzFields(f *testing.F) {
	encoded := protowire.AppendString(protowire.AppendTag(nil, nameField, protowire.BytesType), "acme")
	encoded = protowire.AppendVarint(protowire.AppendTag(encoded, versionField, protowire.VarintType), 2)
	f.Add(encoded)
	f.Add(encoded[:len(encoded)-1])
	f.Add(protowire.AppendTag(nil, 1, protowire.StartGroupType))
	f.Fuzz(func(t *testing.T, data []byte) {
		total := 0
		_ = fields(data, func(number protowire.Number, text []byte, _ uint64) error {
			if number < protowire.MinValidNumber {
				t.Errorf("field number %d", number)
			}
			total += len(text)
			return nil
		})
		if total > len(data) {
			t.Errorf("decoded %d bytes of text from %d bytes", total, len(data))
		}
	})
}
