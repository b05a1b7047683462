module github.com/plugwire/plugwire/plugins/streaming

go 1.26.0

require (
	github.com/google/go-cmp v0.7.0
	github.com/plugwire/plugwire/core v0.1.0
	github.com/plugwire/plugwire/transport/quic v0.1.0
	github.com/plugwire/plugwire/transport/tcp v0.1.0
	github.com/plugwire/plugwire/transport/unix v0.1.0
	go.uber.org/goleak v1.3.0
	golang.org/x/sys v0.48.0
	golang.org/x/time v0.16.0
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/hashicorp/yamux v0.1.2 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/quic-go/quic-go v0.65.0 // indirect
	github.com/rs/zerolog v1.35.1 // indirect
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/text v0.42.0 // indirect
)

replace (
	github.com/plugwire/plugwire/core => ../../core
	github.com/plugwire/plugwire/transport/quic => ../../transport/quic
	github.com/plugwire/plugwire/transport/tcp => ../../transport/tcp
	github.com/plugwire/plugwire/transport/unix => ../../transport/unix
)
