// Package service has the rules of the sample plugin: which user may do what
// with users and data. One type, [Service], serves both services of the
// protocol multi. It keeps its data in a store.Store, and does not know how
// calls reach it.
package service

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/plugwire/plugwire/plugins/multiservice/multi"
	"github.com/plugwire/plugwire/plugins/multiservice/store"
)

// Service serves multi.UserService and multi.DataService. Its methods are safe
// for concurrent use.
type Service struct {
	store *store.Store
}

var _ multi.MultiHandler = (*Service)(nil)

// New returns a service for the data in s. The caller closes s when no call is
// under way any more.
func New(s *store.Store) *Service { return &Service{s} }

// require returns PERMISSION_DENIED unless caller is a user with at least that
// role.
func require(tx *store.Tx, caller string, role multi.Role) error {
	user, err := tx.User(caller)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return status.Errorf(codes.PermissionDenied, "the caller %s is not a user", caller)
	case err != nil:
		return err
	case user.GetRole() < role:
		return status.Errorf(codes.PermissionDenied, "the caller %s is %s, and this takes %s", caller, user.GetRole(), role)
	default:
		return nil
	}
}

// change changes the store if allowed. It asks before the change, so that a
// refusal costs no write to the disk, and again with the change, because another
// caller's change may come in between.
func (s *Service) change(ctx context.Context, allowed, change func(tx *store.Tx) error) error {
	if err := s.store.View(ctx, allowed); err != nil {
		return toStatus(err)
	}
	return toStatus(s.store.Update(ctx, func(tx *store.Tx) error {
		if err := allowed(tx); err != nil {
			return err
		}
		return change(tx)
	}))
}

// toStatus returns err as the status that a caller gets. It returns an error
// that is a status already unchanged.
func toStatus(err error) error {
	var code codes.Code
	var damaged *store.DamagedError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return status.FromContextError(err).Err()
	case errors.Is(err, store.ErrFull):
		code = codes.ResourceExhausted
	case errors.Is(err, store.ErrClosed):
		code = codes.Unavailable
	case errors.As(err, &damaged):
		code = codes.DataLoss
	default:
		if _, ok := status.FromError(err); ok {
			return err
		}
		code = codes.Internal
	}
	return status.Error(code, err.Error())
}
