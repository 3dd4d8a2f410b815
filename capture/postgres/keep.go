package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/capture"
)

var _ capture.Keeper = (*Source)(nil)

// intent is a slot that is about to be made. One that is found later is ours if
// it begins after the intent, and nobody has read from it.
type intent struct {
	SystemID string `json:"system_id"`
	Timeline int32  `json:"timeline"`
	Database string `json:"database"`
	Slot     string `json:"slot"`
	After    string `json:"after"` // where the server's log ended, while there was no such slot
}

// Intend implements capture.Keeper.
func (s *Source) Intend(ctx context.Context) (string, error) {
	l, err := s.cfg.dial(ctx)
	if err != nil {
		return "", err
	}
	defer l.close()
	f, err := s.look(ctx, l)
	if err != nil {
		return "", err
	}
	if f.hasSlot {
		return "", s.foreign()
	}
	text, err := json.Marshal(intent{f.system.SystemID, f.system.Timeline, f.server.Database, s.cfg.Slot, f.system.XLogPos.String()})
	return string(text), err
}

// foreign says that a slot cannot be shown to be ours.
func (s *Source) foreign() error {
	return fmt.Errorf("slot %s exists already, but nothing was captured from it here: where it stands says nothing about what was missed; "+
		"if nobody else uses it, SELECT pg_drop_replication_slot(%s), or name another slot", s.cfg.Slot, literal(s.cfg.Slot))
}

// takeIntended goes on from the slot that a first start made before it was cut
// short: it stands where it was made, so everything after is in it.
func (s *Source) takeIntended(ctx context.Context, l *link, f found, intended string) (capture.Start, error) {
	if intended == "" {
		return capture.Start{}, s.foreign()
	}
	var was intent
	if err := json.Unmarshal([]byte(intended), &was); err != nil {
		return capture.Start{}, fmt.Errorf("read what was intended: %w", err)
	}
	f, err := s.untilFree(ctx, l, f)
	if err != nil {
		return capture.Start{}, err
	}
	if !f.hasSlot { // it was still in the making, and went with its process
		return s.begin(ctx, l, intended)
	}
	used, err := one[struct {
		Transactions int64 `json:"n"`
	}](ctx, l.sql, "select coalesce(sum(total_txns), 0)::bigint as n from pg_stat_replication_slots where slot_name = "+literal(s.cfg.Slot))
	if err != nil {
		return capture.Start{}, fmt.Errorf("read the use of slot %s: %w", s.cfg.Slot, err)
	}
	at, err := parseLSN(f.slot.Confirmed)
	after, bad := parseLSN(was.After)
	is := intent{f.system.SystemID, f.system.Timeline, f.server.Database, s.cfg.Slot, was.After}
	if err != nil || bad != nil || is != was || at < after || used.Transactions > 0 || f.breaks(at) != "" {
		return capture.Start{}, s.foreign()
	}
	if err := f.problems(s.cfg.Publication, nil); err != nil {
		return capture.Start{}, err
	}
	if err := s.mappingProblems(&f); err != nil {
		return capture.Start{}, err
	}
	s.log.Info("taking the slot of a first start that was cut short", "slot", s.cfg.Slot, "at", at.String())
	return capture.Start{Resume: position{at, f.system.Timeline}.resume(), Identity: f.identity().String()}, nil
}

// freePause is how often a slot in use is looked at again.
const freePause = 100 * time.Millisecond

// untilFree waits until nobody uses the slot: the server takes a moment to see
// that a process is gone.
func (s *Source) untilFree(ctx context.Context, l *link, f found) (found, error) {
	deadline := time.Now().Add(s.cfg.SlotWait)
	for f.hasSlot && f.slot.ActivePID != 0 {
		if time.Now().After(deadline) {
			return f, fmt.Errorf("slot %s stays in use by server process %d: stop what reads it", s.cfg.Slot, f.slot.ActivePID)
		}
		select {
		case <-ctx.Done():
			return f, ctx.Err()
		case <-time.After(freePause):
		}
		var err error
		if f.slot, f.hasSlot, err = readSlot(ctx, l.sql, s.cfg.Slot); err != nil {
			return f, err
		}
	}
	return f, nil
}

// Abandon implements capture.Keeper. The slot is ours if it is on the server
// that the position is of, under our name, and nobody has moved it beyond what
// we remember: we confirm nothing that does not stand in the state file.
func (s *Source) Abandon(ctx context.Context, from capture.Resume, id string) error {
	was, at, err := parseStart(capture.Start{Resume: from, Identity: id})
	if err != nil {
		return err
	}
	l, err := s.cfg.dial(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	f, err := s.look(ctx, l)
	if err != nil || !f.hasSlot {
		return err
	}
	if f, err = s.untilFree(ctx, l, f); err != nil || !f.hasSlot {
		return err
	}
	confirmed, err := parseLSN(f.slot.Confirmed)
	reason := ""
	switch {
	case err != nil || f.slot.Type != "logical" || f.slot.Plugin != "pgoutput" || f.slot.Temporary:
		reason = fmt.Sprintf("it is a %s slot with plugin %q", f.slot.Type, f.slot.Plugin)
	case f.slot.Database != was.Database || was.Database != f.server.Database || was.Slot != s.cfg.Slot:
		reason = fmt.Sprintf("it is of database %s", f.slot.Database)
	case f.system.SystemID != was.SystemID:
		reason = fmt.Sprintf("the server is another cluster: system identifier %s, it was %s", f.system.SystemID, was.SystemID)
	case f.system.Timeline != was.Timeline && !f.slot.Synced:
		reason = fmt.Sprintf("the server is on timeline %d, ours was %d", f.system.Timeline, was.Timeline)
	case confirmed > at:
		reason = fmt.Sprintf("it stands at %s, and nothing after %s was confirmed here", confirmed, at)
	}
	if reason != "" {
		return fmt.Errorf("slot %s is not provably ours: %s; if nobody else uses it, SELECT pg_drop_replication_slot(%s), or name another slot",
			s.cfg.Slot, reason, literal(s.cfg.Slot))
	}
	if _, err := l.sql.Exec(ctx, fmt.Sprintf("select pg_drop_replication_slot(%s)", literal(s.cfg.Slot))).ReadAll(); err != nil {
		return fmt.Errorf("drop slot %s: %w", s.cfg.Slot, explain(err))
	}
	s.log.Warn("dropped the slot of the epoch that was given up", "slot", s.cfg.Slot, "confirmed", confirmed.String(), "captured", at.String())
	return nil
}
