package store_test

import (
	"context"
	"fmt"
	"os"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/plugins/multiservice/store"
)

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "store-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	s, err := store.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	ctx := context.Background()
	if err := s.Update(ctx, func(tx *store.Tx) error {
		return tx.PutEntry(&multi.Entry{Key: "greetings/en", Value: []byte("hello")})
	}); err != nil {
		fmt.Println(err)
	}
	if err := s.View(ctx, func(tx *store.Tx) error {
		for entry, err := range tx.Entries("greetings/", "") {
			if err != nil {
				return err
			}
			fmt.Printf("%s: %s\n", entry.GetKey(), entry.GetValue())
		}
		return nil
	}); err != nil {
		fmt.Println(err)
	}
	// Output: greetings/en: hello
}
