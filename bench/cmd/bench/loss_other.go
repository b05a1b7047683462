//go:build !linux

package main

import (
	"context"
	"errors"
	"os/exec"
)

// ownNetwork does nothing; losePackets fails.
func ownNetwork(*exec.Cmd) {}

// losePackets is not available: only Linux has network namespaces.
func losePackets(context.Context) error { return errors.New("it needs Linux") }
