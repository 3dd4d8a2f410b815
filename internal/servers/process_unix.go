//go:build unix && !linux

package servers

import "syscall"

const orphansDie = false

// attributes has no counterpart of Linux's orphan signal: Stop has to be called.
func (c command) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: c.account.credential(), Setpgid: true}
}
