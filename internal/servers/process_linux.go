package servers

import "syscall"

// orphansDie: the kernel ends our servers when we die.
const orphansDie = true

func (c command) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Credential: c.account.credential(),
		Setpgid:    true, // Ctrl-C on our terminal is ours to turn into an orderly Stop
		Pdeathsig:  c.orphan,
	}
}
