package e2e_test

import "runtime"

// canForbid says whether the program forbid works here.
const canForbid = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64"
