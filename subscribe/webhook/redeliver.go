package webhook

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// HasDeadLetters says whether a hook has events that were given up.
func HasDeadLetters(dir, name string) bool {
	info, err := os.Stat(DeadLetters(dir, name))
	return err == nil && info.Size() > 0
}

// Redeliver posts the dead letters of a hook once more, in their order, and
// tells done of each: problem is empty if it was taken. What is not taken is a
// dead letter again. It may run beside the process that posts; killed, it goes on
// at its next call, and may post some again, under the same ids.
func Redeliver(ctx context.Context, cfg Config, done func(id, problem string)) error {
	if err := cfg.validate(); err != nil {
		return fmt.Errorf("webhook %q: %w", cfg.Name, err)
	}
	client := newClient(cfg.Guard)
	defer client.CloseIdleConnections()
	path := DeadLetters(cfg.Dir, cfg.Name)
	// What is taken away from the running process has its own name; one that a kill left is taken up first.
	taken := strings.TrimSuffix(path, ".jsonl") + ".again.jsonl"
	for {
		if _, err := os.Stat(taken); errors.Is(err, fs.ErrNotExist) {
			if err := os.Rename(path, taken); errors.Is(err, fs.ErrNotExist) {
				return nil
			} else if err != nil {
				return fmt.Errorf("webhook %q: %w", cfg.Name, err)
			}
		} else if err != nil {
			return fmt.Errorf("webhook %q: %w", cfg.Name, err)
		}
		again, err := cfg.redeliver(ctx, client, taken, done)
		if err == nil {
			err = appendDeadLetters(path, again)
		}
		if err == nil {
			err = errors.Join(os.Remove(taken), syncDirectory(filepath.Dir(taken)))
		}
		if err != nil {
			return fmt.Errorf("webhook %q: %w", cfg.Name, err)
		}
		if len(again) > 0 || !HasDeadLetters(cfg.Dir, cfg.Name) {
			return nil
		}
	}
}

// redeliver posts what a file holds, and returns what was not taken.
func (c *Config) redeliver(ctx context.Context, client *http.Client, path string, done func(id, problem string)) (again []deadLetter, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				return nil, fmt.Errorf("%s:%d: the line is cut short: end it, or remove it", path, n)
			}
			return again, nil
		}
		if err != nil {
			return nil, err
		}
		var d deadLetter
		var e struct{ ID string }
		if err := json.Unmarshal(line, &d); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if err := json.Unmarshal(d.Event, &e); err != nil || e.ID == "" {
			return nil, fmt.Errorf("%s:%d: the event has no id", path, n)
		}
		a := c.post(ctx, client, e.ID, d.Event, time.Now())
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !a.taken {
			d.At, d.Attempts, d.Problem = time.Now().UTC(), d.Attempts+1, a.problem
			again = append(again, d)
		}
		done(e.ID, a.problem)
	}
}
