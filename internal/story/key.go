package story

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/reconcile"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// Key is what the log says of a key, whether it ever diverged or not: what both
// sides had, which version of the one is which of the other, and how far that is
// proven.
type Key struct {
	Story // its versions, marks and range; of a divergence only the entity, the key and the authority

	Verdict string // equal, diverged or unknown; empty: nothing is known of the key, nor covered
	Reason  schemas.Reason
	Absent  bool // it is covered on both sides, and the log has no version of it
	Look    reconcile.Look
	// Authority and Follower are the versions that the verdict rests on, nil where the row was never there, or the log no longer has it.
	Authority, Follower *Version
	FieldRules          []schemas.FieldRule
	Rules               string
	Divergences         []schemas.Divergence // of the key, each as it was left, in order
	Unkeyed             int64                // events of the entity in the key's partition of which nobody knows the key
}

// progressEvery is how many records are read until it is said how many.
const progressEvery = 1 << 15

// What Key.Verdict says.
const (
	VerdictEqual    = "equal"
	VerdictDiverged = "diverged"
	VerdictUnknown  = "unknown"
)

// ReadKey judges one key anew, from the beginning of the log: of its partition
// only the records of the key, and those that are of all keys, are looked at.
// That this gives the verdict which all records give is what the comparator
// promises of keys.
func ReadKey(ctx context.Context, cfg Config, entity string, texts []string) (*Key, error) {
	e, ok := cfg.Rules.Entity(entity)
	if !ok {
		var names []string
		for _, o := range cfg.Rules.Entities() {
			names = append(names, o.Name)
		}
		return nil, fmt.Errorf("entity %q: the migration has %s", entity, inert.Text(fmt.Sprint(names)))
	}
	key, err := e.CanonicalKey(texts)
	if err != nil {
		return nil, fmt.Errorf("%w; its key is %v, each a word of its own", err, e.KeyFields)
	}
	k := &Key{}
	k.Migration, k.Owner, k.Window = cfg.Migration, cfg.Owner, e.SettleWindow
	k.Story.Divergence.Entity, k.Story.Divergence.Key = e.Name, cfg.Rules.HideKey(e, key)
	for i := range e.Fields {
		k.Fields = append(k.Fields, e.Fields[i].Name)
	}
	if err := k.readDivergences(ctx, &cfg, e); err != nil {
		return nil, err
	}
	if err := k.judge(ctx, &cfg, e, key); err != nil {
		return nil, err
	}
	k.explain(e)
	for _, v := range []*Version{k.Authority, k.Follower} {
		if v != nil {
			v.Roles = append(v.Roles, Paired)
		}
	}
	return k, nil
}

// readDivergences reads what was published of the key.
func (k *Key) readDivergences(ctx context.Context, c *Config, e *schemas.Entity) error {
	latest := map[string]int{}
	return c.each(ctx, c.Log.Topics().Divergences, func(ev *schemas.Event, _ time.Time) {
		d := ev.Divergence
		if d == nil || d.Entity != e.Name || !slices.Equal(d.Key, k.Story.Divergence.Key) {
			return
		}
		i, ok := latest[d.ID]
		if !ok {
			latest[d.ID] = len(k.Divergences)
			k.Divergences = append(k.Divergences, *d)
		} else if d.Sequence >= k.Divergences[i].Sequence {
			k.Divergences[i] = *d
		}
	})
}

// judge runs the comparator over what the log has of the key.
func (k *Key) judge(ctx context.Context, c *Config, e *schemas.Entity, key []string) error {
	topic, partition := c.Log.Topics().Changes, stream.Partition(e.PartitionKey(key), c.Log.Partitions())
	starts, err := c.Log.StartOffsets(ctx, topic)
	if err != nil {
		return err
	}
	ends, err := c.Log.EndOffsets(ctx, topic)
	if err != nil {
		return err
	}
	k.Range = Range{Partition: partition, From: starts[partition], To: ends[partition], Cut: starts[partition] > 0}
	core, err := reconcile.NewCore(reconcile.Config{Rules: c.Rules, Recompute: true}, reconcile.NewMemoryState())
	if err != nil {
		return err
	}
	message := e.MessageKey(key)
	h := histories{rules: c.Rules, entity: e, key: c.Rules.HideMessageKey(e, message), seen: map[schemas.EventID]bool{}}
	var out reconcile.Effects
	rows := map[int64]*schemas.Change{} // of the key, as the stores have them
	_, err = c.Log.Read(ctx, topic, partition, k.Range.From, k.Range.To, func(r stream.Record) error {
		if done := r.Offset - k.Range.From; c.Progress != nil && done%progressEvery == 0 {
			c.Progress(done, k.Range.To-k.Range.From)
		}
		if len(r.Key) > 0 && !bytes.Equal(r.Key, message) {
			return nil
		}
		h.take(&r)
		rec, err := schemas.UnmarshalRecord(r.Value)
		if err != nil {
			return nil // it is a mark, if it is of this key
		}
		if q := rec.Quarantine; q != nil && len(q.Key) == 0 {
			if q.Entity == e.Name {
				k.Unkeyed++
			}
			return nil
		}
		if rec.Change != nil && len(r.Key) > 0 {
			rows[r.Offset] = rec.Change
		}
		out.Reset()
		return core.Step(r.Offset, rec, &out)
	})
	if errors.Is(err, stream.ErrRetention) {
		err, k.Range.Cut = nil, true
	}
	if err != nil {
		return err
	}
	k.Versions, k.Marks, k.Rules = merge(h.sides), h.marks, core.RulesInForce()
	return k.conclude(core, e, key, rows)
}

// conclude takes the verdict, and what it rests on, from the comparator.
func (k *Key) conclude(core *reconcile.Core, e *schemas.Entity, key []string, rows map[int64]*schemas.Change) error {
	look, kept, err := core.Look(e, key)
	if err != nil {
		return err
	}
	k.Look, k.Story.Divergence.Side = look, look.Authority
	sum, err := core.Finish()
	if err != nil {
		return err
	}
	switch {
	case sum.Diverged > 0:
		k.Verdict = VerdictDiverged
	case sum.Equal > 0:
		k.Verdict = VerdictEqual
	default:
		for reason, n := range sum.Unknown { // any order: there is one
			if n > 0 {
				k.Verdict, k.Reason = VerdictUnknown, reason
			}
		}
	}
	if !kept && len(k.Versions) == 0 && look.Sides[schemas.Legacy].Covered && look.Sides[schemas.Target].Covered {
		k.Verdict, k.Absent = VerdictEqual, true
	}
	var row [3]schemas.Row
	for _, side := range schemas.Sides {
		ref := look.Follows
		if side == look.Authority {
			ref = look.Leads
		}
		i := slices.IndexFunc(k.Versions, func(v Version) bool { return v.Offset >= 0 && v.Offset == ref.Offset })
		if i < 0 {
			continue
		}
		if side == look.Authority {
			k.Authority = &k.Versions[i]
		} else {
			k.Follower = &k.Versions[i]
		}
		if c := rows[ref.Offset]; c != nil {
			row[side] = c.After
		}
	}
	k.FieldRules = e.FieldRules(row[schemas.Legacy], row[schemas.Target])
	return nil
}

// by says what makes the follower's version the authority's.
func (k *Key) by() string {
	a, f := k.Authority, k.Follower
	switch {
	case !k.Look.Matched:
		return ""
	case a == nil && f == nil:
		return "absence"
	case a != nil && f != nil && a.Tag.WriteID != "" && a.Tag.WriteID == f.Tag.WriteID:
		return "write_id"
	}
	return "value"
}

// Text writes the key's story for people, width cells wide.
func (k *Key) Text(to io.Writer, width int) error {
	t := &textWriter{w: bufio.NewWriter(to), width: max(width, MinWidth)}
	t.column = (t.width - clockCells - 4) / 2
	d := &k.Story.Divergence
	verdict := k.Verdict
	switch {
	case k.Absent:
		verdict = "equal: on neither side"
	case verdict == "":
		verdict = "unknown (nothing was read of it, and it is not covered)"
	case k.Reason != "":
		verdict += " (" + string(k.Reason) + ")"
	}
	t.line("%s  %s  %s", inert.Text(d.Entity), k.keyOf(), verdict)
	t.line("  authority %s", d.Side)
	switch k.by() {
	case "write_id":
		t.line("  paired    by write id %s", inert.Text(k.Authority.Tag.WriteID))
	case "value":
		t.line("  paired    by what their rows hold")
	case "absence":
		t.line("  paired    neither side has the row")
	}
	for _, side := range []schemas.Side{d.Side, d.Side.Other()} {
		t.line("  %-9s %s", side, k.standing(side))
		t.line("  %-9s %s", "", k.proof(side))
	}
	t.line("  rules     %s, settle window %s", inert.Text(k.Rules), k.Window)
	for i := range k.FieldRules {
		label := ""
		if i == 0 {
			label = "fields"
		}
		t.line("  %-9s %s: %s", label, inert.Text(k.FieldRules[i].Field), inert.Text(k.FieldRules[i].String()))
	}
	if k.Unkeyed > 0 {
		t.line("  but       %d events of %s in partition %d say no key: one may be of this one", k.Unkeyed, inert.Text(d.Entity), k.Range.Partition)
	}
	for i := range k.Divergences {
		x := &k.Divergences[i]
		t.line("  diverged  %s, %s at %s; \"trueup divergences show %s\" says how", x.Verdict, x.Stage, x.At, inert.Text(short(x.ID)))
	}
	if len(k.Divergences) == 0 {
		t.line("  diverged  never, as far as was published")
	}
	t.histories(&k.Story)
	return t.w.Flush()
}

// standing says what a side has.
func (k *Key) standing(side schemas.Side) string {
	v := k.Follower
	if side == k.Look.Authority {
		v = k.Authority
	}
	switch {
	case v != nil:
		return fmt.Sprintf("%s at %s, ordinal %d, committed %s", v.Op, inert.Text(v.Pos), v.Ordinal, v.CommitTS)
	case k.Look.Sides[side].Known || k.Look.Sides[side].Covered:
		return "no row: none was read of its range"
	}
	return "not known"
}

// proof says how far a side is known.
func (k *Key) proof(side schemas.Side) string {
	s := &k.Look.Sides[side]
	var text string
	switch {
	case s.Covered && s.Always, s.Known && s.Always:
		text = "known from the beginning of the log"
	case s.Covered:
		text = "covered since " + s.From.String()
	case s.Known:
		text = "known since " + s.Since.String() + ", by a change; its range is not covered"
	default:
		text = "not covered"
	}
	if s.Frontier == 0 {
		return text + "; the side has not said how far it is"
	}
	return text + ", complete up to " + s.Frontier.String()
}

// keySide is a side of a key in JSON.
type keySide struct {
	Known         bool   `json:"known"`
	FromBeginning bool   `json:"from_beginning"` // of the log
	Since         string `json:"since,omitempty"`
	Covered       bool   `json:"covered"`
	CoveredSince  string `json:"covered_since,omitempty"`
	CompleteTo    string `json:"complete_to,omitempty"`
	Present       bool   `json:"present"`
	Pos           string `json:"pos,omitempty"` // of the version that the verdict rests on
	Ordinal       uint32 `json:"ordinal"`
	CommitTS      string `json:"commit_ts,omitempty"`
	WriteID       string `json:"write_id,omitempty"`
	Offset        *int64 `json:"offset"`
}

func (k *Key) side(side schemas.Side) keySide {
	s, v := &k.Look.Sides[side], k.Follower
	if side == k.Look.Authority {
		v = k.Authority
	}
	l := keySide{Known: s.Known, FromBeginning: s.Always, Covered: s.Covered}
	if s.Known && !s.Always {
		l.Since = s.Since.String()
	}
	if s.Covered && !s.Always {
		l.CoveredSince = s.From.String()
	}
	if s.Frontier != 0 {
		l.CompleteTo = s.Frontier.String()
	}
	if v != nil {
		l.Present, l.Pos, l.Ordinal, l.CommitTS, l.WriteID, l.Offset = !v.absent(), v.Pos, v.Ordinal, v.CommitTS.String(), v.Tag.WriteID, &v.Offset
	}
	return l
}

// JSON writes the versions of the key, and a last line of kind key.
func (k *Key) JSON(to io.Writer) error {
	w := bufio.NewWriter(to)
	each := json.NewEncoder(w)
	each.SetEscapeHTML(false)
	for i := range k.Versions {
		if err := each.Encode(k.versionLine(&k.Versions[i])); err != nil {
			return fmt.Errorf("write version: %w", err)
		}
	}
	for _, m := range k.Marks {
		l := markLine{Kind: "mark", At: m.At.String(), Offset: m.Offset, What: m.What}
		if m.Side != 0 {
			l.Side = m.Side.String()
		}
		if err := each.Encode(l); err != nil {
			return fmt.Errorf("write mark: %w", err)
		}
	}
	type rule struct {
		Field   string   `json:"field"`
		Rules   []string `json:"rules"`
		Applied []string `json:"applied"`
	}
	verdict, reason := k.Verdict, k.Reason
	if verdict == "" {
		verdict, reason = VerdictUnknown, schemas.NoData
	}
	last := struct {
		Kind         string         `json:"kind"` // key
		Entity       string         `json:"entity"`
		Key          []string       `json:"key"`
		Verdict      string         `json:"verdict"`
		Reason       schemas.Reason `json:"reason,omitempty"`
		Authority    string         `json:"authority"`
		PairedBy     string         `json:"paired_by,omitempty"` // write_id, value or absence
		Legacy       keySide        `json:"legacy"`
		Target       keySide        `json:"target"`
		Rules        string         `json:"rules"`
		SettleWindow string         `json:"settle_window"`
		FieldRules   []rule         `json:"field_rules"`
		Divergences  []string       `json:"divergences"` // ids
		Unkeyed      int64          `json:"unkeyed"`
		Partition    int32          `json:"partition"`
		From         int64          `json:"from"`
		To           int64          `json:"to"`
		Complete     bool           `json:"complete"`
		Versions     int            `json:"versions"`
	}{Kind: "key", Entity: k.Story.Divergence.Entity, Key: k.Story.Divergence.Key, Verdict: verdict, Reason: reason, Authority: k.Look.Authority.String(),
		PairedBy: k.by(), Legacy: k.side(schemas.Legacy), Target: k.side(schemas.Target), Rules: k.Rules, SettleWindow: k.Window.String(),
		FieldRules: []rule{}, Divergences: []string{}, Unkeyed: k.Unkeyed, Partition: k.Range.Partition, From: k.Range.From, To: k.Range.To,
		Complete: !k.Range.Cut, Versions: len(k.Versions)}
	for i := range k.FieldRules {
		r := &k.FieldRules[i]
		last.FieldRules = append(last.FieldRules, rule{r.Field, append([]string{}, r.Rules...), append([]string{}, r.Applied...)})
	}
	for i := range k.Divergences {
		last.Divergences = append(last.Divergences, k.Divergences[i].ID)
	}
	if err := each.Encode(last); err != nil {
		return fmt.Errorf("write key: %w", err)
	}
	return w.Flush()
}
