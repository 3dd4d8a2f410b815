package access

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// said is what was logged.
type said struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *said) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), what)
}

// A token that is taken out of its file is let in no longer, one that is put in is, and files in which something is
// wrong change nothing.
func TestI37_FilesAreFollowed(t *testing.T) {
	tokens := written(t, "tokens", "ann "+hashed("a")+" roles=viewer\n")
	policy := written(t, "access.yaml", "apiVersion: trueup/v1\nkind: Access\ngrants:\n  - {role: viewer, to: ann}\n")
	a, err := Load(tokens, policy)
	if err != nil {
		t.Fatal(err)
	}
	log := &said{}
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() { a.Follow(ctx, tokens, policy, time.Millisecond, slog.New(slog.NewTextHandler(log, nil))) })
	defer following.Wait()
	defer cancel()
	may := func(token string) bool {
		p, err := a.Who(asked(t, token))
		return err == nil && a.May(p, View, Target{})
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for range 30_000 {
			if done() {
				return
			}
			time.Sleep(time.Millisecond) //nolint:forbidigo // files are looked at, and signal nothing
		}
		t.Fatalf("not %s:\n%s", what, log.text.String())
	}
	put := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	until("let in", func() bool { return may("a") && !may("b") })
	put(tokens, "bob "+hashed("b")+" roles=viewer\n")
	until("known that another one is let in", func() bool {
		_, err := a.Who(asked(t, "b"))
		return err == nil && !may("a")
	})
	if may("b") {
		t.Error("bob may what is granted to ann alone")
	}
	put(policy, "apiVersion: trueup/v1\nkind: Access\ngrants:\n  - {role: viewer, to: bob}\n")
	until("granted", func() bool { return may("b") })
	for n, text := range []string{"", "bob nothing\n"} {
		put(tokens, text)
		until("said", func() bool { return log.count("level=ERROR") == n+1 })
		if !may("b") {
			t.Errorf("%q took away what was there before", text)
		}
	}
	if err := os.Remove(tokens); err != nil {
		t.Fatal(err)
	}
	until("said", func() bool { return log.count("level=ERROR") == 3 })
	if !may("b") {
		t.Error("a file that is not there took away what was there before")
	}
	put(tokens, "ann "+hashed("a")+" roles=viewer\n")
	until("taken back", func() bool {
		_, err := a.Who(asked(t, "b"))
		return err != nil
	})
}
