package story

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/trueup-io/trueup/schemas"
)

// versionLine is a version of the key as a line of JSON. Values are canonical
// texts by field; those of a row that is not there are null, those that the log
// no longer has are left out.
type versionLine struct {
	Kind      string             `json:"kind"` // version
	Side      string             `json:"side"`
	Op        string             `json:"op"`
	Source    string             `json:"source"`
	Epoch     uint32             `json:"epoch"`
	Pos       string             `json:"pos"`
	Ordinal   uint32             `json:"ordinal"`
	TxnRows   uint32             `json:"txn_rows,omitempty"`
	Txn       string             `json:"txn"`
	CommitTS  string             `json:"commit_ts"`
	At        string             `json:"at"`        // commit_ts on Trueup's clock
	Partition int32              `json:"partition"` // of the changes topic
	Offset    *int64             `json:"offset"`    // null: known from the divergence's evidence alone
	Written   string             `json:"written,omitempty"`
	Tag       tagLine            `json:"tag"`
	Roles     []Role             `json:"roles"`
	Changed   []string           `json:"changed"`
	SameAs    *sameLine          `json:"same_as,omitempty"` // the authority's version with the same compared values
	Values    map[string]*string `json:"values,omitempty"`
}

type tagLine struct {
	WriteID        string `json:"write_id,omitempty"`
	Traceparent    string `json:"traceparent,omitempty"`
	TraceID        string `json:"trace_id,omitempty"`
	FlagEpoch      string `json:"flag_epoch,omitempty"`
	CompensationID string `json:"compensation_id,omitempty"`
	Service        string `json:"service,omitempty"`
}

type sameLine struct {
	Pos     string `json:"pos"`
	Ordinal uint32 `json:"ordinal"`
	At      string `json:"at"`
}

type markLine struct {
	Kind   string `json:"kind"` // mark
	At     string `json:"at"`
	Side   string `json:"side,omitempty"`
	Offset int64  `json:"offset"`
	What   string `json:"what"`
}

// storyLine closes the listing: what was read, and whether that is all.
type storyLine struct {
	Kind          string   `json:"kind"` // story
	ID            string   `json:"id"`
	Entity        string   `json:"entity"`
	Key           []string `json:"key"`
	Migration     string   `json:"migration"`
	Owner         string   `json:"owner,omitempty"`
	SettleWindow  string   `json:"settle_window"`
	Traces        []string `json:"traces"`
	Partition     int32    `json:"partition"`
	From          int64    `json:"from"`
	To            int64    `json:"to"`
	Complete      bool     `json:"complete"` // the log still had everything that was asked for
	Versions      int      `json:"versions"`
	Repairs       int      `json:"repairs"`
	EchoesMissing int      `json:"echoes_missing"` // repairs that were written, and whose echo was not read
	// EqualBy are the fields of a closed divergence that the stores hold otherwise, and what makes them equal.
	EqualBy []equalLine `json:"equal_by,omitempty"`
}

// equalLine is a field whose two stores hold different things that are the same.
type equalLine struct {
	Field  string   `json:"field"`
	Legacy *string  `json:"legacy"` // null: NULL, or no column
	Target *string  `json:"target"`
	Type   string   `json:"type"`
	Rules  []string `json:"rules"` // that applied; none: they are equal by their type
}

func textOf(c *schemas.Column) *string {
	if c.Presence != schemas.Value {
		return nil
	}
	return &c.Text
}

// JSON writes the story as JSON Lines: the events of the divergence, the
// versions, the marks, each repair with its decisions and outcomes, and a line
// of kind story.
func (s *Story) JSON(to io.Writer) error {
	var lines [][]byte
	add := func(v any) error {
		b, err := json.Marshal(v)
		lines = append(lines, b)
		return err
	}
	for i := range s.Events {
		lines = append(lines, schemas.AppendDivergenceJSON(nil, &s.Events[i].Divergence))
	}
	for i := range s.Versions {
		if err := add(s.versionLine(&s.Versions[i])); err != nil {
			return fmt.Errorf("write version: %w", err)
		}
	}
	for _, m := range s.Marks {
		l := markLine{Kind: "mark", At: m.At.String(), Offset: m.Offset, What: m.What}
		if m.Side != 0 {
			l.Side = m.Side.String()
		}
		if err := add(l); err != nil {
			return fmt.Errorf("write mark: %w", err)
		}
	}
	missing := 0
	for i := range s.Repairs {
		r := &s.Repairs[i]
		lines = append(lines, schemas.AppendCompensationJSON(nil, &r.Compensation))
		for j := range r.Decisions {
			lines = append(lines, schemas.AppendDecisionJSON(nil, &r.Decisions[j]))
		}
		for j := range r.Outcomes {
			lines = append(lines, schemas.AppendOutcomeJSON(nil, &r.Outcomes[j]))
		}
		if r.written() && s.echo(r.ID) == nil {
			missing++
		}
	}
	d := &s.Divergence
	var equal []equalLine
	for i := range s.Equal {
		q := &s.Equal[i]
		equal = append(equal, equalLine{q.Field, textOf(&q.Legacy), textOf(&q.Target), q.Type, append([]string{}, q.By...)})
	}
	if err := add(storyLine{"story", d.ID, d.Entity, d.Key, s.Migration, s.Owner, s.Window.String(), append([]string{}, s.Traces()...),
		s.Range.Partition, s.Range.From, s.Range.To, !s.Range.Cut, len(s.Versions), len(s.Repairs), missing, equal}); err != nil {
		return fmt.Errorf("write story: %w", err)
	}
	for _, l := range lines {
		if _, err := to.Write(append(l, '\n')); err != nil {
			return err
		}
	}
	return nil
}

func (s *Story) versionLine(v *Version) versionLine {
	t := v.Tag
	l := versionLine{Kind: "version", Side: v.Side.String(), Op: v.Op.String(), Source: v.Source, Epoch: v.Epoch, Pos: v.Pos, Ordinal: v.Ordinal,
		TxnRows: v.TxnRows, Txn: v.Txn, CommitTS: v.CommitTS.String(), At: v.At.String(), Partition: s.Range.Partition,
		Tag: tagLine{t.WriteID, t.Traceparent, traceID(t.Traceparent), t.FlagEpoch, t.CompensationID, t.Service}, Roles: append([]Role{}, v.Roles...),
		Changed: []string{}, Values: v.Values}
	if v.Offset >= 0 {
		l.Offset, l.Written = &v.Offset, v.Written.UTC().Format(time.RFC3339Nano)
	}
	for _, d := range v.Changed {
		l.Changed = append(l.Changed, d.Field)
	}
	if v.Same >= 0 {
		a := &s.Versions[v.Same]
		l.SameAs = &sameLine{a.Pos, a.Ordinal, a.At.String()}
	}
	return l
}
