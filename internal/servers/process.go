package servers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// command says what to run and as whom.
type command struct {
	name    string // for errors
	argv    []string
	dir     string
	env     []string
	account *account
	log     string // file that receives both outputs, appended
	// orphan is sent by the kernel when we die (Linux).
	orphan syscall.Signal
}

// process is a running command.
type process struct {
	cmd   command
	pid   int
	start int64         // size of the log when it started
	os    *os.Process   // a handle, not a number: safe after the process has ended
	done  chan struct{} // closed when the process has been waited for
	err   error         // how it ended; read after done
}

// start starts the command and returns at once.
func (c command) start() (*process, error) {
	log, err := os.OpenFile(c.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", c.name, err)
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return nil, fmt.Errorf("log of %s: %w", c.name, err)
	}
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Dir, cmd.Env = c.dir, c.env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = c.attributes()

	p := &process{cmd: c, start: info.Size(), done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel sends the orphan signal when the starting *thread* ends, so
		// this thread is kept for exactly as long as the process lives.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.pid, p.os = cmd.Process.Pid, cmd.Process
		started <- nil
		p.err = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	return p, nil
}

// run starts the command and waits until it ends well. When ctx ends first, the
// command and what it started are killed.
func (c command) run(ctx context.Context) error {
	p, err := c.start()
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.killGroup()
		<-p.done
		return fmt.Errorf("%s: %w", c.name, ctx.Err())
	}
	if p.err != nil {
		return p.death()
	}
	return nil
}

// killGroup kills the process and its children that stayed in its group.
func (p *process) killGroup() {
	select {
	case <-p.done:
	default:
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	}
}

// signal sends s; a process that has ended is no error.
func (p *process) signal(s syscall.Signal) error {
	if err := p.os.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s to %s: %w", s, p.cmd.name, err)
	}
	return nil
}

// demand is a signal and how long to wait for the process to end after it.
type demand struct {
	signal   syscall.Signal
	patience time.Duration
}

// stop sends the demands one after the other until the process has ended, at
// last SIGKILL. Having to go past the first one is an error that says so; a
// process that has ended already is none.
func (p *process) stop(demands ...demand) error {
	select {
	case <-p.done:
		return nil
	default:
	}
	for i, d := range demands {
		if err := p.signal(d.signal); err != nil {
			return err
		}
		patience := time.NewTimer(d.patience)
		select {
		case <-p.done:
			patience.Stop()
			if i > 0 {
				return fmt.Errorf("%s ignored %s for %s and was ended by %s: is a client still connected?",
					p.cmd.name, demands[0].signal, demands[0].patience, d.signal)
			}
			return nil
		case <-patience.C:
		}
	}
	if err := p.kill(); err != nil {
		return err
	}
	return fmt.Errorf("%s did not stop within %s of %s and was killed", p.cmd.name, demands[0].patience, demands[0].signal)
}

// kill ends the process with SIGKILL and waits until it is gone.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.done
	return nil
}

// death describes a process that has ended, with the end of its log.
func (p *process) death() error {
	how := "exited"
	if p.err != nil {
		how = p.err.Error()
	}
	return fmt.Errorf("%s: %s; the end of %s:\n%s", p.cmd.name, how, p.cmd.log, p.tail())
}

// tail returns the end of what the process wrote, at most 4 KB.
func (p *process) tail() string {
	f, err := os.Open(p.cmd.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err.Error()
	}
	from := max(p.start, info.Size()-4096)
	text, err := io.ReadAll(io.NewSectionReader(f, from, info.Size()-from))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(text))
}

// awaitReady calls probe until it succeeds. It gives up when ctx ends, or when the
// process dies; then with what reason recognises in its last words, if anything.
func (p *process) awaitReady(ctx context.Context, reason func(tail string) error, probe func(context.Context) error) error {
	const pause = 50 * time.Millisecond
	for {
		attempt, cancel := context.WithTimeout(ctx, 5*time.Second)
		err := probe(attempt)
		cancel()
		if err == nil {
			return nil
		}
		again := time.NewTimer(pause)
		select {
		case <-p.done:
			again.Stop()
			if why := reason(p.tail()); why != nil {
				return fmt.Errorf("%w: %w", why, p.death())
			}
			return p.death()
		case <-ctx.Done():
			again.Stop()
			return fmt.Errorf("%s is not ready: %w (last attempt: %w); the end of %s:\n%s",
				p.cmd.name, context.Cause(ctx), err, p.cmd.log, p.tail())
		case <-again.C:
		}
	}
}
