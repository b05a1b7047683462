module github.com/plugwire/plugwire/transport/quic

go 1.26.0

require github.com/plugwire/plugwire/core v0.1.0

replace github.com/plugwire/plugwire/core => ../../core
