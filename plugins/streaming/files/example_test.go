package files_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"

	"github.com/plugwire/plugwire/plugins/streaming/files"
)

func ExampleStore() {
	if err := example(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output: "A file of two parts.", the last chunk: true
}

func example(ctx context.Context) error {
	root, err := os.MkdirTemp("", "")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	store, err := files.Open(root)
	if err != nil {
		return err
	}
	defer store.Close()

	upload, err := store.Upload(ctx, files.UploadSpec{Path: "dir/file"})
	if err != nil {
		return err
	}
	sum := sha256.New()
	for _, part := range []string{"A file ", "of two parts."} {
		sum.Write([]byte(part))
		if err := upload.Write([]byte(part)); err != nil {
			return err
		}
	}
	if err := upload.Commit(sum.Sum(nil)); err != nil {
		return err
	}

	download, err := store.Download(ctx, "dir/file", 0, nil)
	if err != nil {
		return err
	}
	defer download.Close()
	chunk, err := download.Next()
	if err != nil {
		return err
	}
	fmt.Printf("%q, the last chunk: %v\n", chunk.Data, chunk.Last)
	return nil
}
