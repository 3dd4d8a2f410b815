package access

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"time"
)

// DefaultFollowEvery is how often files are looked at: so long, at most, a token counts that was taken out.
const DefaultFollowEvery = 2 * time.Second

// Follow has the authority be what its files say, as Load reads them, until ctx ends. Files
// that cannot be read, or in which something is wrong, change nothing; that is said once.
// Every is how often they are looked at; 0: DefaultFollowEvery.
func (a *Authority) Follow(ctx context.Context, tokens, policy string, every time.Duration, logger *slog.Logger) {
	if every == 0 {
		every = DefaultFollowEvery
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	known, _ := contents(tokens, policy) // what was read last, good or bad
	if is, err := Load(tokens, policy); err == nil {
		a.become(is) // they may have changed since they were read first
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		found, err := contents(tokens, policy)
		if err != nil {
			found = []byte(err.Error())
		}
		if !bytes.Equal(found, known) {
			known = found
			a.reload(tokens, policy, logger)
		}
	}
}

func (a *Authority) reload(tokens, policy string, logger *slog.Logger) {
	is, err := Load(tokens, policy)
	if err != nil {
		logger.Error("who may do what is not read anew: what was read before counts on", "stage", "rollout", "err", err)
		return
	}
	a.become(is)
	logger.Info("who may do what was read anew", "stage", "rollout", "tokens", len(is.Tokens), "grants", len(is.Grants))
}

// contents is what stands in both files.
func contents(paths ...string) (all []byte, err error) {
	for _, path := range paths {
		if path == "" {
			continue
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		all = append(append(all, b...), 0)
	}
	return all, nil
}
