module github.com/plugwire/plugwire/transport/tcp

go 1.26.0

require (
	github.com/plugwire/plugwire/core v0.1.0
	go.uber.org/goleak v1.3.0
)

require (
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)

replace github.com/plugwire/plugwire/core => ../../core
