package service

import (
	"context"
	"errors"
	"log/slog"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/plugins/multiservice/store"
)

// StoreData puts a value under a key on behalf of a WRITER.
func (s *Service) StoreData(ctx context.Context, request *multi.StoreRequest) (*multi.StoreResponse, error) {
	var v violations
	v.name("caller", request.GetCaller())
	v.key("key", request.GetKey())
	v.value("value", request.GetValue())
	if err := v.err(); err != nil {
		return nil, err
	}
	allowed := func(tx *store.Tx) error { return require(tx, request.GetCaller(), multi.Role_ROLE_WRITER) }
	var version int64
	err := s.change(ctx, allowed, func(tx *store.Tx) error {
		old, err := tx.Entry(request.GetKey())
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		version = old.GetVersion() + 1
		return tx.PutEntry(&multi.Entry{
			Key:        request.GetKey(),
			Value:      request.GetValue(),
			Version:    version,
			UpdatedBy:  request.GetCaller(),
			UpdateTime: timestamppb.Now(),
		})
	})
	if err != nil {
		return nil, err
	}
	plugin.Logger(ctx).LogAttrs(ctx, slog.LevelDebug, "stored",
		slog.String("key", request.GetKey()), slog.Int("bytes", len(request.GetValue())),
		slog.Int64("version", version), slog.String("caller", request.GetCaller()))
	return &multi.StoreResponse{Version: version}, nil
}

// QueryData returns a page of the entries whose keys begin with a prefix, on
// behalf of any user.
func (s *Service) QueryData(ctx context.Context, request *multi.QueryRequest) (*multi.QueryResponse, error) {
	var v violations
	v.name("caller", request.GetCaller())
	v.prefix("prefix", request.GetPrefix())
	size := v.pageSize("page_size", request.GetPageSize())
	after := v.pageToken("page_token", request.GetPageToken(), request.GetPrefix())
	if err := v.err(); err != nil {
		return nil, err
	}
	var response *multi.QueryResponse
	err := s.store.View(ctx, func(tx *store.Tx) error {
		err := require(tx, request.GetCaller(), multi.Role_ROLE_READER)
		if err != nil {
			return err
		}
		response, err = page(ctx, tx, request.GetPrefix(), after, size)
		return err
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return response, nil
}

// page returns the entries that follow the key after, until their number is size
// or one more would make them too large for a response.
func page(ctx context.Context, tx *store.Tx, prefix, after string, size int) (*multi.QueryResponse, error) {
	response := &multi.QueryResponse{}
	bytes := 0
	for entry, err := range tx.Entries(prefix, after) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		bytes += proto.Size(entry)
		if n := len(response.Entries); n == size || n > 0 && bytes > maxPageBytes {
			response.NextPageToken = encodePageToken(prefix, response.Entries[n-1].GetKey())
			break
		}
		response.Entries = append(response.Entries, entry)
	}
	return response, nil
}
