package command

import (
	"os/exec"
	"syscall"
)

func ownGroup(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// interruptGroup does what Ctrl-C does at a terminal: SIGINT to the whole group. Packer's outer process ignores it and
// its inner one cleans up, which it could not after a SIGTERM that also ends its plugins.
func interruptGroup(pid int) error { return syscall.Kill(-pid, syscall.SIGINT) }

func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }
