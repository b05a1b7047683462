package e2e_test

import "runtime"

// canForbidUDP says whether cmd/no-udp works here.
const canForbidUDP = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

// systemCommands are those that are for this system only.
var systemCommands = []string{"no-udp"}
