package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
)

// errStillDying says that children of the server's last life are still there.
var errStillDying = errors.New("children of the killed server are still ending")

// server is what the three servers share: a process in a private directory that
// is started, stopped, killed and started again.
//
//	starting → running → stopped or killed → starting …
type server struct {
	name   string
	dir    directory
	launch func(ctx context.Context) (*process, error) // starts it on its ports and waits until it answers
	polite []demand                                    // how to ask it to stop

	mu   sync.Mutex
	proc *process // nil when not running; under mu
	gone bool     // the temporary directory was removed; under mu
}

// Stop shuts the server down in an orderly way, waits until it is gone, and
// removes its directory if that was a temporary one. It is an error if the server
// had to be forced. A second call does nothing.
func (s *server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.halt()
	if s.dir.temp && !s.gone {
		s.gone = true
		err = errors.Join(err, s.dir.discard())
	}
	return err
}

// pid is that of the running server's process, 0 when none runs.
func (s *server) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return 0
	}
	return s.proc.pid
}

// Kill ends the server with SIGKILL, as a crash would, and keeps its directory:
// Restart goes on from there.
func (s *server) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return nil
	}
	err := s.proc.kill()
	s.proc = nil
	return err
}

// Restart starts the server again with its data and on its old port, after
// shutting it down if it runs. It returns when the server answers.
func (s *server) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return fmt.Errorf("restart %s: it was stopped and its temporary directory removed; name a directory to keep it", s.name)
	}
	if err := s.halt(); err != nil {
		return fmt.Errorf("restart %s: %w", s.name, err)
	}
	ctx, cancel := startDeadline(ctx)
	defer cancel()
	for {
		proc, err := s.launch(ctx)
		if err == nil {
			s.proc = proc
			return nil
		}
		// What is left of a killed server needs a moment to notice; a port that
		// somebody borrowed may come back.
		again := time.NewTimer(200 * time.Millisecond)
		select {
		case <-ctx.Done():
			again.Stop()
			return fmt.Errorf("restart %s: %w", s.name, err)
		case <-again.C:
		}
		if !errors.Is(err, errStillDying) && !errors.Is(err, errPortTaken) {
			return fmt.Errorf("restart %s: %w", s.name, err)
		}
	}
}

// startDeadline bounds a start whose caller gave no bound.
func startDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	const limit = 2 * time.Minute
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %s", limit))
}

// first launches a new server, with other ports for as long as the ones chosen
// turn out to be taken. After an error nothing is left behind.
func (s *server) first(ctx context.Context, choosePorts func() error) error {
	ctx, cancel := startDeadline(ctx)
	defer cancel()
	var err error
	for range startAttempts {
		if err = choosePorts(); err != nil {
			break
		}
		if s.proc, err = s.launch(ctx); err == nil {
			return nil
		}
		if !errors.Is(err, errPortTaken) {
			break
		}
	}
	return errors.Join(fmt.Errorf("start %s: %w", s.name, err), s.dir.discard())
}

func (s *server) halt() error {
	if s.proc == nil {
		return nil
	}
	err := s.proc.stop(s.polite...)
	s.proc = nil
	return err
}

// await waits until the process answers, and kills it if it does not.
func await(ctx context.Context, p *process, reason func(string) error, probe func(context.Context) error) (*process, error) {
	if err := p.awaitReady(ctx, reason, probe); err != nil {
		return nil, errors.Join(err, p.kill())
	}
	return p, nil
}

// initOnce makes dir/data by running init on a fresh dir/data.new that is then
// renamed, so that a crash in between leaves nothing that looks complete.
func initOnce(d directory, a *account, init func(fresh string) error) (data string, err error) {
	data = d.join("data")
	if _, err := os.Stat(data); err == nil {
		return data, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	fresh := d.join("data.new")
	if err := os.RemoveAll(fresh); err != nil {
		return "", err
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return "", err
	}
	if err := a.own(fresh); err != nil {
		return "", err
	}
	if err := init(fresh); err != nil {
		return "", err
	}
	return data, os.Rename(fresh, data)
}

// environment is what servers get of ours: where programs are, and nothing that
// changes how they behave (PG*, MYSQL_*, JAVA_TOOL_OPTIONS, LC_*, TZ). Each has
// its own temporary directory: MariaDB clears the whole of it of temporary tables
// at each start, another server's included.
func environment(d directory) []string {
	return []string{"PATH=" + os.Getenv("PATH") + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"HOME=" + d.path, "TMPDIR=" + d.scratch(), "LC_ALL=C", "LANG=C", "TZ=UTC"}
}
