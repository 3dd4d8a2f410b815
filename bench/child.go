package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/trueup-io/trueup/internal/memory"
)

// A child is this program again, in a process of its own. What it is to do comes
// as one line of JSON on its standard input, which then stays open for as long as
// it is wanted; it answers with lines of JSON on its standard output, and what it
// logs goes to standard error.
type child struct {
	what string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
}

// startChild starts a child that does what, as task says, with more in its environment.
func startChild(ctx context.Context, what string, task any, env ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{what: what, cmd: exec.CommandContext(ctx, self, "-child", what)}
	c.cmd.Stderr, c.cmd.Env = os.Stderr, append(os.Environ(), env...)
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", what, err)
	}
	if err := json.NewEncoder(c.in).Encode(task); err != nil {
		return nil, errors.Join(fmt.Errorf("tell %s what to do: %w", what, err), c.stop())
	}
	return c, nil
}

// read waits for the child's next answer.
func (c *child) read(answer any) error {
	text, err := c.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		return fmt.Errorf("answer of %s: %w", c.what, err)
	}
	return nil
}

// stop ends the child in good order and waits for it.
func (c *child) stop() error {
	err := errors.Join(c.in.Close(), c.cmd.Wait())
	if err != nil {
		return fmt.Errorf("%s: %w", c.what, err)
	}
	return nil
}

// cpu is what the child has taken, after stop.
func (c *child) cpu() time.Duration {
	return c.cmd.ProcessState.UserTime() + c.cmd.ProcessState.SystemTime()
}

// runChild is what a child does.
func runChild(ctx context.Context, what string) error {
	in := bufio.NewReader(os.Stdin)
	task, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // until the process ends
		_, _ = io.Copy(io.Discard, in) // its end is what counts: nobody wants us any more
		cancel()
	}()
	defer memory.Tune()() // as the product does, and then
	memory.ForgetStart()
	switch what {
	case "broker":
		return decoded(task, func(t brokerTask) error { return t.run(ctx) })
	case "compare":
		return decoded(task, func(t compareTask) error { return t.run(ctx) })
	case "capture mysql":
		return decoded(task, func(t mysqlTask) error { return t.run(ctx) })
	case "parse mysql":
		return decoded(task, func(t parseTask) error { return t.run(ctx) })
	case "capture postgres":
		return decoded(task, func(t postgresTask) error { return t.run(ctx) })
	case "audit":
		return decoded(task, func(t auditTask) error { return t.audit(ctx) })
	case "read topic":
		return decoded(task, func(t auditTask) error { return t.read(ctx) })
	case "baseline":
		return decoded(task, func(t baselineTask) error { return t.run(ctx) })
	}
	return fmt.Errorf("no child does %q", what)
}

func decoded[T any](text []byte, run func(T) error) error {
	var t T
	if err := json.Unmarshal(text, &t); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	return run(t)
}

func answer(v any) error { return json.NewEncoder(os.Stdout).Encode(v) }
