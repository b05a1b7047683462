module github.com/plugwire/plugwire/bench

go 1.26.0

require (
	github.com/containerd/ttrpc v1.2.10
	github.com/google/go-cmp v0.7.0
	github.com/hashicorp/go-hclog v1.6.3
	github.com/hashicorp/go-plugin v1.8.0
	github.com/lesismal/arpc v1.2.14
	github.com/plugwire/plugwire/compat/goplugin v0.1.0
	github.com/plugwire/plugwire/core v0.1.0
	github.com/plugwire/plugwire/examples/socketpair v0.1.0
	github.com/plugwire/plugwire/transport/quic v0.1.0
	github.com/plugwire/plugwire/transport/tcp v0.1.0
	github.com/plugwire/plugwire/transport/unix v0.1.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
	storj.io/drpc v1.0.0
)

require (
	github.com/containerd/log v0.1.0 // indirect
	github.com/fatih/color v1.13.0 // indirect
	github.com/golang/protobuf v1.5.4 // indirect
	github.com/hashicorp/yamux v0.1.2 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/oklog/run v1.1.0 // indirect
	github.com/plugwire/plugwire/hclogbridge v0.1.0 // indirect
	github.com/quic-go/quic-go v0.65.0 // indirect
	github.com/rs/zerolog v1.35.1 // indirect
	github.com/sirupsen/logrus v1.9.4 // indirect
	github.com/zeebo/errs v1.2.2 // indirect
	golang.org/x/crypto v0.57.0 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
)

replace (
	github.com/plugwire/plugwire/compat/goplugin => ../compat/goplugin
	github.com/plugwire/plugwire/core => ../core
	github.com/plugwire/plugwire/examples/socketpair => ../examples/socketpair
	github.com/plugwire/plugwire/hclogbridge => ../hclogbridge
	github.com/plugwire/plugwire/transport/quic => ../transport/quic
	github.com/plugwire/plugwire/transport/tcp => ../transport/tcp
	github.com/plugwire/plugwire/transport/unix => ../transport/unix
)
