//go:build unix && !linux

package e2e

import "syscall"

// dieWithParent can only part the process from the terminal here: a program
// that is killed itself leaves behind what it has started.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
