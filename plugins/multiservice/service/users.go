package service

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/plugwire/plugwire/core/plugin"
	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/plugins/multiservice/store"
)

// CreateUser adds a user on behalf of an ADMIN. The first user, an ADMIN, is
// created without a caller, because there is no user yet. If several callers
// try at the same time, one succeeds.
func (s *Service) CreateUser(ctx context.Context, request *multi.CreateUserRequest) (*multi.User, error) {
	var v violations
	v.name("name", request.GetName())
	v.role("role", request.GetRole())
	if request.GetCaller() != "" {
		v.name("caller", request.GetCaller())
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	allowed := func(tx *store.Tx) error { return mayCreate(tx, request) }
	user := &multi.User{Name: request.GetName(), Role: request.GetRole(), CreateTime: timestamppb.Now()}
	if err := s.change(ctx, allowed, func(tx *store.Tx) error { return tx.PutUser(user) }); err != nil {
		return nil, err
	}
	plugin.Logger(ctx).LogAttrs(ctx, slog.LevelInfo, "created a user",
		slog.String("name", user.GetName()), slog.String("role", user.GetRole().String()), slog.String("caller", request.GetCaller()))
	record(ctx, &multi.RecordRequest{Caller: request.GetCaller(), Created: user})
	return user, nil
}

// recordTimeout bounds how long CreateUser waits for the host's audit log.
const recordTimeout = 10 * time.Second

// record reports a change to the host's audit log, if the host has one. The change is on the disk, so it is
// reported also if the caller has given up, and a failure is only logged.
func record(ctx context.Context, request *multi.RecordRequest) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	_, err := multi.NewAuditLogClient(plugin.Host(ctx)).Record(ctx, request)
	if err != nil && status.Code(err) != codes.Unimplemented {
		plugin.Logger(ctx).LogAttrs(ctx, slog.LevelWarn, "the host did not record a change", slog.Any("error", err))
	}
}

// mayCreate returns why the user of request cannot be created.
func mayCreate(tx *store.Tx, request *multi.CreateUserRequest) error {
	hasUsers, err := tx.HasUsers()
	if err != nil {
		return err
	}
	if hasUsers && request.GetCaller() == "" {
		return status.Error(codes.PermissionDenied, "there are users, so an ADMIN must be the caller, and there is no caller")
	}
	if hasUsers || request.GetCaller() != "" {
		if err := require(tx, request.GetCaller(), multi.Role_ROLE_ADMIN); err != nil {
			return err
		}
	} else if request.GetRole() != multi.Role_ROLE_ADMIN {
		return status.Errorf(codes.FailedPrecondition, "the first user must be ROLE_ADMIN, because only an ADMIN can create others, and is %s", request.GetRole())
	}
	switch _, err := tx.User(request.GetName()); {
	case err == nil:
		return status.Errorf(codes.AlreadyExists, "there is a user %s already", request.GetName())
	case errors.Is(err, store.ErrNotFound):
		return nil
	default:
		return err
	}
}

// GetUser returns a user: to an ADMIN any, to others the caller.
func (s *Service) GetUser(ctx context.Context, request *multi.GetUserRequest) (*multi.User, error) {
	var v violations
	v.name("name", request.GetName())
	v.name("caller", request.GetCaller())
	if err := v.err(); err != nil {
		return nil, err
	}
	role := multi.Role_ROLE_ADMIN
	if request.GetName() == request.GetCaller() {
		role = multi.Role_ROLE_READER
	}
	var user *multi.User
	err := s.store.View(ctx, func(tx *store.Tx) error {
		err := require(tx, request.GetCaller(), role)
		if err != nil {
			return err
		}
		user, err = tx.User(request.GetName())
		if errors.Is(err, store.ErrNotFound) {
			return status.Errorf(codes.NotFound, "there is no user %s", request.GetName())
		}
		return err
	})
	if err != nil {
		return nil, toStatus(err)
	}
	return user, nil
}
