package processor_test

import (
	"context"
	"fmt"

	"github.com/plugwire/plugwire/plugins/dataprocessor/example"
	"github.com/plugwire/plugwire/plugins/dataprocessor/processor"
)

func ExampleProcessor() {
	response, err := processor.New().ProcessData(context.Background(), &example.ProcessRequest{
		Data:    "  Große Straße ",
		Options: map[string]string{"trim": "true", "uppercase": "true"},
		Tags:    []string{"de"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(response.GetResult())
	// Output: [de] GROSSE STRASSE
}
