//go:build unix && !race

package goplugin_test

const raceEnabled = false
