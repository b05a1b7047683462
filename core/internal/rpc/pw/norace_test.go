//go:build !race

package pw

const raceEnabled = false
