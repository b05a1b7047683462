package peer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// maxKept bounds what a Buffer keeps: more than any check prints, and little memory for a host
// whose plugin prints without an end.
const maxKept = 2 << 20

// Buffer keeps the first maxKept bytes that are written to it. It is safe for concurrent use.
type Buffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

// Write implements [io.Writer].
func (b *Buffer) Write(data []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, err := b.b.Write(data[:min(len(data), maxKept-b.b.Len())])
	return len(data), err
}

// String returns what is kept.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Records returns the written lines as records. They are lines of JSON whose
// level and message have the given keys.
func (b *Buffer) Records(levelKey, messageKey string) []Record {
	var records []Record
	for line := range strings.Lines(b.String()) {
		var values map[string]any
		if json.Unmarshal([]byte(line), &values) != nil {
			continue // the line is half written
		}
		r := Record{Fields: make(map[string]string)}
		for key, value := range values {
			text := fmt.Sprint(value)
			switch key {
			case levelKey:
				r.Level = strings.ToLower(text)
			case messageKey:
				r.Message = text
			default:
				r.Fields[key] = text
			}
		}
		records = append(records, r)
	}
	return records
}
