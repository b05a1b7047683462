package main

import (
	"encoding/hex"
	"fmt"
	"hash"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/hostcli"
)

// A transferObject is a JSON object of the output: a complete file.
type transferObject struct {
	Type      string  `json:"type"` // "download" or "upload"
	Remote    string  `json:"remote"`
	Local     string  `json:"local"`
	Bytes     int64   `json:"bytes"`                // size of the whole file
	ResumedAt int64   `json:"resumed_at,omitempty"` // offset at which this command began
	SHA256    string  `json:"sha256"`
	Seconds   float64 `json:"seconds"` // time of this command
}

// print prints that a file is at its destination.
func (t transferObject) print(s *hostcli.Session, destination string, sum []byte, began time.Time) error {
	t.SHA256 = hex.EncodeToString(sum)
	elapsed := time.Since(began)
	t.Seconds = elapsed.Seconds()
	text := fmt.Sprintf("%s: %d bytes in %.1f s, sha256 %s\n", destination, t.Bytes, t.Seconds, t.SHA256)
	if t.ResumedAt > 0 {
		text = fmt.Sprintf("%s: %d bytes, %d of them from before, in %.1f s, sha256 %s\n", destination, t.Bytes, t.ResumedAt, t.Seconds, t.SHA256)
	}
	return s.Print(text, t)
}

// again repeats a transfer from 0 if it began at an offset and the bytes before
// turn out to be of another version.
func again(offset int64, transfer func(offset int64) error) error {
	err := transfer(offset)
	if offset > 0 && status.Code(err) == codes.Aborted {
		return transfer(0)
	}
	return err
}

// prefixOf returns the checksum of the bytes before an offset in the form for
// requests: nothing for offset 0.
func prefixOf(sum hash.Hash, offset int64) []byte {
	if offset == 0 {
		return nil
	}
	return sum.Sum(nil)
}
