package plugin

import "errors"

var (
	// ErrProcessNotFound is why a client cannot reattach: nothing is there.
	ErrProcessNotFound = errors.New("reattachment process not found")
	// ErrChecksumsDoNotMatch is why a program was not started: it is not the one that
	// [SecureConfig] names.
	ErrChecksumsDoNotMatch = errors.New("checksums did not match")
	// ErrSecureConfigNoChecksum is a [SecureConfig] without a checksum.
	ErrSecureConfigNoChecksum = errors.New("no checksum provided")
	// ErrSecureConfigNoHash is a [SecureConfig] without a hash.
	ErrSecureConfigNoHash = errors.New("no hash implementation provided")
	// ErrSecureConfigAndReattach is a configuration with both: a plugin that runs cannot be
	// verified.
	ErrSecureConfigAndReattach = errors.New("only one of Reattach or SecureConfig can be set")
	// ErrGRPCBrokerMuxNotSupported is why a plugin was refused that has no multiplexed mode,
	// while [ClientConfig].GRPCBrokerMultiplex asks for it.
	ErrGRPCBrokerMuxNotSupported = errors.New("client requested gRPC broker multiplexing but plugin does not support the feature")
)

// BasicError is the text of an error, as a value that can be encoded.
type BasicError struct {
	Message string
}

// NewBasicError returns the text of err, or nil if err is nil.
func NewBasicError(err error) *BasicError {
	if err == nil {
		return nil
	}
	return &BasicError{Message: err.Error()}
}

// Error returns the message.
func (e *BasicError) Error() string { return e.Message }

// startError is why a plugin did not start: what go-plugin would say, and what is known
// beyond that.
type startError struct {
	text string // of go-plugin
	is   error  // of go-plugin; nil if it has none
	err  error
}

// Error returns both.
func (e *startError) Error() string { return e.text + "\n" + e.err.Error() }

// Unwrap returns both errors.
func (e *startError) Unwrap() []error {
	if e.is == nil {
		return []error{e.err}
	}
	return []error{e.is, e.err}
}
