package dev

import "os/exec"

// exe ends the name of a program.
const exe = ".exe"

// shell returns the command that the shell runs.
func shell(command string) *exec.Cmd { return exec.Command("cmd", "/c", command) }
