package e2e_test

import "runtime"

// canForbidUDP says whether cmd/no-udp works here.
const canForbidUDP = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

func init() { commands = append(commands, "no-udp") }
