package e2e_test

import "runtime"

// canForbid says whether cmd/forbid works here.
const canForbid = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"

// systemCommands are those that are for this system only.
var systemCommands = []string{"chaos-host", "chaos-plugin", "forbid", "life-host", "life-plugin", "loss"}
