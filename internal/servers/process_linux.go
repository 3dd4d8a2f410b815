package servers

import "syscall"

func (c command) attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Credential: c.account.credential(),
		Setpgid:    true, // Ctrl-C on our terminal is ours to turn into an orderly Stop
		Pdeathsig:  c.orphan,
	}
}
