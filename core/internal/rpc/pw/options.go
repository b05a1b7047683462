package pw

import (
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"

	"github.com/plugwire/plugwire/core/internal/rpc/calls"
)

// callOptions is what grpc.CallOptions say. Those that make no sense without HTTP/2, such
// as a compressor, have no effect.
type callOptions struct {
	maxReceive, maxSend int
	codec               codec
	subtype             string // of the codec; empty for Protocol Buffers
	creds               credentials.PerRPCCredentials
	headers, trailers   []*metadata.MD
	header, trailer     [1]*metadata.MD // room for one of each, which is what callers give
	peers               []*peer.Peer
	onFinish            []func(error)
	waitForReady        bool
	authority           string
}

func (o *callOptions) set(opts []grpc.CallOption) error {
	for _, opt := range opts {
		switch opt := opt.(type) {
		case grpc.HeaderCallOption:
			if o.headers == nil {
				o.headers = o.header[:0]
			}
			o.headers = append(o.headers, opt.HeaderAddr)
		case grpc.TrailerCallOption:
			if o.trailers == nil {
				o.trailers = o.trailer[:0]
			}
			o.trailers = append(o.trailers, opt.TrailerAddr)
		case grpc.PeerCallOption:
			o.peers = append(o.peers, opt.PeerAddr)
		case grpc.OnFinishCallOption:
			o.onFinish = append(o.onFinish, opt.OnFinish)
		case grpc.FailFastCallOption:
			o.waitForReady = !opt.FailFast
		case grpc.MaxRecvMsgSizeCallOption:
			o.maxReceive = opt.MaxRecvMsgSize
		case grpc.MaxSendMsgSizeCallOption:
			o.maxSend = opt.MaxSendMsgSize
		case grpc.AuthorityOverrideCallOption:
			o.authority = opt.Authority
		case grpc.PerRPCCredsCallOption:
			o.creds = opt.Creds
		case grpc.ContentSubtypeCallOption:
			o.subtype = opt.ContentSubtype
		case grpc.ForceCodecCallOption:
			o.codec, o.subtype = codecV1{opt.Codec}, opt.Codec.Name()
		case grpc.ForceCodecV2CallOption:
			o.codec, o.subtype = codecV2{opt.CodecV2}, opt.CodecV2.Name()
		case grpc.CustomCodecCallOption:
			o.codec, o.subtype = codecV1{opt.Codec}, opt.Codec.String()
		case grpc.CompressorCallOption:
			if opt.CompressorType != encoding.Identity && opt.CompressorType != "" && encoding.GetCompressor(opt.CompressorType) == nil {
				return status.Errorf(codes.Internal, "grpc: Compressor is not installed for requested grpc-encoding %q", opt.CompressorType)
			}
		}
	}
	if o.subtype != "" && o.codec == nil {
		if o.codec = codecFor(o.subtype); o.codec == nil {
			return status.Errorf(codes.Internal, "no codec registered for content-subtype %s", o.subtype)
		}
	}
	if o.subtype == protoName {
		o.subtype = ""
	}
	return nil
}

// protoName is the name of the codec for Protocol Buffers.
const protoName = "proto"

// codec encodes messages. nil stands for Protocol Buffers.
type codec interface {
	marshal(m any) ([]byte, error)
	unmarshal(b []byte, m any) error
}

func codecFor(name string) codec {
	if name == "" || name == protoName {
		return nil
	}
	if c := encoding.GetCodecV2(name); c != nil {
		return codecV2{c}
	}
	if c := encoding.GetCodec(name); c != nil {
		return codecV1{c}
	}
	return nil
}

type codecV1 struct {
	c interface {
		Marshal(v any) ([]byte, error)
		Unmarshal(data []byte, v any) error
	}
}

func (c codecV1) marshal(m any) ([]byte, error)   { return c.c.Marshal(m) }
func (c codecV1) unmarshal(b []byte, m any) error { return c.c.Unmarshal(append([]byte(nil), b...), m) }

type codecV2 struct{ c encoding.CodecV2 }

func (c codecV2) marshal(m any) ([]byte, error) {
	s, err := c.c.Marshal(m)
	if err != nil {
		return nil, err
	}
	defer s.Free()
	return s.Materialize(), nil
}

func (c codecV2) unmarshal(b []byte, m any) error {
	s := mem.BufferSlice{mem.SliceBuffer(append([]byte(nil), b...))}
	defer s.Free()
	return c.c.Unmarshal(s, m)
}

// message is a message to send.
type message struct {
	proto proto.Message // nil if bytes has it
	bytes []byte
	size  int
}

// prepare measures a message. Like grpc-go, it takes nil for an empty message.
func prepare(m any, c codec, limit int) (message, error) {
	var p message
	if m == nil {
		p.bytes = []byte{}
	} else if c != nil {
		b, err := c.marshal(m)
		if err != nil {
			return p, status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
		}
		if b == nil {
			b = []byte{} // an empty message is one too
		}
		p = message{bytes: b, size: len(b)}
	} else {
		pm, err := protoOf(m)
		if err != nil {
			return p, status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
		}
		p = message{proto: pm, size: proto.Size(pm)}
	}
	if limit = int(min(int64(limit), maxLarge)); p.size > limit {
		return p, calls.TooLarge("send", p.size, limit)
	}
	return p, nil
}

// protoOf returns a message as the current API has it.
func protoOf(m any) (proto.Message, error) {
	switch m := m.(type) {
	case proto.Message:
		return m, nil
	case protoadapt.MessageV1:
		return protoadapt.MessageV2Of(m), nil
	default:
		return nil, fmt.Errorf("proto: failed to marshal, message is %T, want proto.Message", m)
	}
}

// appendTo encodes the message at the end of b. The length must be the one that prepare has
// measured: frames and credit depend on it.
func (p *message) appendTo(b []byte) ([]byte, error) {
	if p.proto == nil {
		return append(b, p.bytes...), nil
	}
	encoded, err := proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, p.proto)
	if err == nil && len(encoded)-len(b) != p.size {
		err = fmt.Errorf("the message has %d bytes and had %d: it was changed while it was sent", len(encoded)-len(b), p.size)
	}
	if err != nil {
		return b, status.Errorf(codes.Internal, "grpc: error while marshaling: %v", err)
	}
	return encoded, nil
}

// decode decodes a message that was received. The bytes of a large one become the message's,
// those of others stay the caller's.
func decode(b []byte, large bool, m any, c codec, limit int) error {
	if len(b) > limit {
		return calls.TooLarge("receive", len(b), limit)
	}
	var err error
	if c != nil {
		err = c.unmarshal(b, m)
	} else {
		var pm proto.Message
		if pm, err = protoOf(m); err == nil {
			if large {
				err = unmarshalLarge(b, pm)
			} else {
				err = proto.Unmarshal(b, pm)
			}
		}
	}
	if err != nil {
		return status.Errorf(codes.Internal, "grpc: failed to unmarshal the received message: %v", err)
	}
	return nil
}

// addCredentials adds the metadata of the call's credentials. It comes before what the caller
// sends, as on h2.
func (k *call) addCredentials() error {
	c, o := k.c, &k.opts
	if o.authority != "" { // a session proves nothing about names of hosts
		return status.Errorf(codes.Unavailable, "credentials type %q does not implement the AuthorityValidator interface, but authority override specified with CallAuthority call option", c.auth.AuthType())
	}
	if o.creds == nil {
		return nil
	}
	if o.creds.RequireTransportSecurity() && c.auth.SecurityLevel < credentials.PrivacyAndIntegrity {
		return status.Error(codes.Unauthenticated, "transport: cannot send secure credentials on an insecure connection")
	}
	ctx := credentials.NewContextWithRequestInfo(k.ctx, credentials.RequestInfo{Method: k.method, AuthInfo: c.auth})
	data, err := o.creds.GetRequestMetadata(ctx, "https://localhost"+serviceOf(k.method)) // as on h2
	if err != nil {
		if s, ok := status.FromError(err); ok {
			return s.Err()
		}
		return status.Errorf(codes.Internal, "transport: per-RPC creds failed due to error: %v", err)
	}
	var all fields
	for name, value := range data {
		all.add(name, value)
	}
	k.md = fields{append(all.block, k.md.block...), all.size + k.md.size}
	return nil
}

// serviceOf returns the name of a method without its last part.
func serviceOf(method string) string {
	for i := len(method) - 1; i > 0; i-- {
		if method[i] == '/' {
			return method[:i]
		}
	}
	return method
}
