package processor_test

import (
	"context"
	"fmt"

	"github.com/plugwire/plugwire/plugins/versioned/example"
	"github.com/plugwire/plugwire/plugins/versioned/processor"
)

func ExampleProcessor_BatchProcess() {
	loud := &example.Operation{Kind: &example.Operation_ChangeCase{
		ChangeCase: &example.ChangeCase{To: example.LetterCase_LETTER_CASE_UPPER},
	}}
	response, err := processor.New().BatchProcess(context.Background(), &example.BatchProcessRequest{
		Items: []*example.ProcessRequestV2{
			{Text: "one", Operations: []*example.Operation{loud}},
			{Text: ""},
			{Text: "three", Operations: []*example.Operation{loud}},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, r := range response.GetResults() {
		if e := r.GetError(); e != nil {
			fmt.Printf("item %d failed: %s\n", i, e.GetMessage())
			continue
		}
		fmt.Printf("item %d: %s\n", i, r.GetResponse().GetText())
	}
	// Output:
	// item 0: ONE
	// item 1 failed: text: must not be empty
	// item 2: THREE
}
