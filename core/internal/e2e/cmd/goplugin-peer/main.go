// Command goplugin-peer is the program of package ongoplugin, for the benchmark: it times
// a start with hashicorp/go-plugin on both sides.
package main

import "github.com/plugwire/plugwire/core/internal/e2e/peer/ongoplugin"

func main() { ongoplugin.Main() }
