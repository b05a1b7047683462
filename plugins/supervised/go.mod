module github.com/plugwire/plugwire/plugins/supervised

go 1.26.0

require (
	github.com/mattn/go-isatty v0.0.24
	github.com/plugwire/plugwire/core v0.1.0
	github.com/plugwire/plugwire/plugins/hello v0.1.0
	github.com/plugwire/plugwire/transport/unix v0.1.0
	google.golang.org/grpc v1.85.0
)

require (
	github.com/hashicorp/yamux v0.1.2 // indirect
	github.com/mattn/go-colorable v0.1.14 // indirect
	github.com/rs/zerolog v1.35.1 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260817212433-ac3dfec99bb1 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

replace (
	github.com/plugwire/plugwire/core => ../../core
	github.com/plugwire/plugwire/plugins/hello => ../hello
	github.com/plugwire/plugwire/transport/unix => ../../transport/unix
)
