//go:build unix && !linux

package e2e_test

const canForbidUDP = false

var systemCommands []string
