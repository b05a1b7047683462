// Package calls has what every wire needs for a call, and the contract of a wire ([Wire]):
// the identity of callers, the limits on calls, interceptors, panics, statistics and errors.
package calls

import (
	"context"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"

	"github.com/plugwire/plugwire/core/handshake"
	"github.com/plugwire/plugwire/core/internal/secure"
)

// AuthInfo describes the caller to a handler, which gets it from [peer.FromContext] on
// every wire.
type AuthInfo struct {
	credentials.CommonAuthInfo
	secure.Info
	// Conn is the wire's own.
	Conn any
}

var _ credentials.AuthInfo = (*AuthInfo)(nil)

// NewAuthInfo returns what handlers find of calls on a stream with info.
func NewAuthInfo(info secure.Info) *AuthInfo {
	level := credentials.PrivacyAndIntegrity
	if info.Security == handshake.SecurityNone {
		level = credentials.NoSecurity
	}
	return &AuthInfo{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: level}, Info: info}
}

// AuthType implements [credentials.AuthInfo].
func (a *AuthInfo) AuthType() string { return a.Security }

// Caller returns what is known of the caller of a handler. It returns nil for a context
// that is not a handler's.
func Caller(ctx context.Context) *AuthInfo {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return nil
	}
	a, _ := p.AuthInfo.(*AuthInfo)
	return a
}
