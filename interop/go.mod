module github.com/plugwire/plugwire/interop

go 1.26.0

require (
	github.com/hashicorp/go-plugin v1.8.0
	github.com/plugwire/plugwire/compat/goplugin v0.1.0
	github.com/plugwire/plugwire/core v0.1.0
	github.com/plugwire/plugwire/interop/peer v0.1.0
	github.com/plugwire/plugwire/plugins/dataprocessor v0.1.0
	github.com/plugwire/plugwire/transport/tcp v0.1.0
	github.com/plugwire/plugwire/transport/unix v0.1.0
	go.uber.org/goleak v1.3.0
	google.golang.org/grpc v1.85.0
	google.golang.org/protobuf v1.36.12
)

require (
	github.com/fatih/color v1.13.0 // indirect
	github.com/golang/protobuf v1.5.4 // indirect
	github.com/hashicorp/go-hclog v1.6.3 // indirect
	github.com/hashicorp/yamux v0.1.2 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/oklog/run v1.1.0 // indirect
	github.com/plugwire/plugwire/hclogbridge v0.1.0 // indirect
	github.com/rivo/uniseg v0.4.7 // indirect
	github.com/rs/zerolog v1.35.1 // indirect
	github.com/stretchr/testify v1.11.1 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
)

replace (
	github.com/plugwire/plugwire/compat/goplugin => ../compat/goplugin
	github.com/plugwire/plugwire/core => ../core
	github.com/plugwire/plugwire/hclogbridge => ../hclogbridge
	github.com/plugwire/plugwire/interop/peer => ./peer
	github.com/plugwire/plugwire/plugins/dataprocessor => ../plugins/dataprocessor
	github.com/plugwire/plugwire/transport/quic => ../transport/quic
	github.com/plugwire/plugwire/transport/tcp => ../transport/tcp
	github.com/plugwire/plugwire/transport/unix => ../transport/unix
)

// The oldest peer's, in which there are packages that a module of their own
// has since.
exclude google.golang.org/genproto v0.0.0-20180817151627-c66870c02cf8
