//go:build unix && !linux

package e2e_test

const canForbid = false
