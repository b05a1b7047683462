module github.com/plugwire/plugwire/examples/socketpair

go 1.26.0

require github.com/plugwire/plugwire/core v0.1.0

require golang.org/x/sys v0.48.0 // indirect

require (
	go.uber.org/goleak v1.3.0
	golang.org/x/net v0.60.0 // indirect
)

replace github.com/plugwire/plugwire/core => ../../core
