package processor

import (
	"fmt"
	"strconv"

	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/internal/violation"
)

// These limit a request. The .proto promises these numbers.
const (
	// maxText bounds a text before, between and after its operations, in bytes.
	maxText = 64 << 10

	// maxOperations bounds the work that one text causes.
	maxOperations = 32

	// maxMetadata and maxMetadataBytes bound the metadata, which comes back
	// unread.
	maxMetadata      = 16
	maxMetadataBytes = 4 << 10

	// maxItems keeps the response within MaxMessageSize, whatever the items do:
	// each has at most 69 KiB, the text and the metadata.
	maxItems = 50
)

// MaxMessageSize is the largest message that the plugin need accept or send, for
// plugin.WithMaxMessageSize: the limits above keep responses within it. It is the
// default limit of a peer on plain gRPC. It is small because the plugin knows a
// request's contents only when it is in memory, where a request of many empty
// parts takes 50 times its length. A larger one is refused before that.
const MaxMessageSize = 4 << 20

// check returns the steps that the request asks for, or an INVALID_ARGUMENT
// status that says what is wrong with it.
func check(request *example.ProcessRequestV2) ([]step, error) {
	var wrong violation.List
	switch n := len(request.GetText()); {
	case n == 0:
		wrong.Add("text", "must not be empty")
	case n > maxText:
		wrong.Add("text", excess(n, maxText, "byte"))
	}
	steps := parse(request.GetOperations(), &wrong)
	metadata := request.GetMetadata()
	size := 0
	for key, value := range metadata {
		size += len(key) + len(value)
	}
	switch {
	case len(metadata) > maxMetadata:
		wrong.Add("metadata", excess(len(metadata), maxMetadata, "entry"))
	case size > maxMetadataBytes:
		wrong.Add("metadata", excess(size, maxMetadataBytes, "byte"))
	}
	return steps, wrong.Err()
}

// checkBatch returns the violations of the batch as a whole.
func checkBatch(request *example.BatchProcessRequest) error {
	var wrong violation.List
	switch n := len(request.GetItems()); {
	case n == 0:
		wrong.Add("items", "must not be empty")
	case n > maxItems:
		wrong.Add("items", excess(n, maxItems, "item"))
	}
	return wrong.Err()
}

func excess(n, limit int, unit string) string {
	return fmt.Sprintf("has %s: at most %d may be", count(n, unit), limit)
}

// count returns "1 byte", "2 bytes" or "2 entries".
func count(n int, unit string) string {
	switch {
	case n == 1:
	case unit == "entry":
		unit = "entries"
	default:
		unit += "s"
	}
	return strconv.Itoa(n) + " " + unit
}
