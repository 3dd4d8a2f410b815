package schemas

import (
	"encoding/hex"
	"strings"
)

// AppendJSONLine appends the JSON Lines form of r to dst, without a line
// feed: contracts.md, "The JSON Lines form of the log". Fields stand in the
// order of its examples; what is zero and may be left out is left out,
// partition 0 too.
//
// The form holds a change without its digest and mapping, which a reader
// computes from the row: a line may be edited. Columns that are unavailable
// are listed beside their row ("unavailable" those of after, or of before
// where there is no after; "unavailable_before" those of before otherwise), so
// they come back as the last of their row. A text that is not UTF-8 stands as
// {"base64":"..."}, a column name that is not as "base64:...".
//
// A record that is not exactly one thing panics.
func AppendJSONLine(dst []byte, r *Record) []byte { return appendJSONLine(dst, r, r.Partition != 0) }

func appendJSONLine(dst []byte, r *Record, partitioned bool) []byte {
	o := openObject(dst)
	kind := func(name string) {
		o.text("kind", name)
		if partitioned && r.End == nil {
			o.number("partition", int64(r.Partition))
		}
	}
	switch {
	case r.Change != nil:
		kind("change")
		o.change(r.Change)
	case r.Progress != nil:
		kind("progress")
		o.progress(r.Progress)
	case r.Covered != nil:
		kind("covered")
		o.covered(r.Covered)
	case r.Control != nil:
		kind("control")
		o.control(r.Control)
	case r.Gap != nil:
		kind("gap")
		o.gap(r.Gap)
	case r.Quarantine != nil:
		kind("quarantine")
		o.quarantine(r.Quarantine)
	case r.End != nil:
		kind("end")
	default:
		panic("schemas: AppendJSONLine of a record that is nothing")
	}
	return o.close()
}

func (o *jsonObject) change(c *Change) {
	o.text("side", c.Side.String())
	o.text("entity", c.Entity)
	if c.Op != OpTruncate {
		o.texts("key", c.Key)
	}
	o.text("op", c.Op.String())
	o.place(c.Source, c.Epoch, c.Pos)
	o.number("ordinal", int64(c.Ordinal))
	o.said("txn", c.Txn)
	if c.TxnRows != 0 {
		o.number("txn_rows", int64(c.TxnRows))
	}
	o.time("commit_ts", c.CommitTS)
	o.saidTime("commit_ts_min", c.CommitTSMin)
	o.saidTime("stamp", c.Stamp)
	if c.Before != nil {
		o.row("before", c.Before)
	}
	if c.After != nil {
		o.row("after", c.After)
		o.unavailable("unavailable", c.After)
		o.unavailable("unavailable_before", c.Before)
	} else {
		o.unavailable("unavailable", c.Before)
	}
	if c.Tag != (Tag{}) {
		o.tag("tag", &c.Tag)
	}
}

// place writes a position.
func (o *jsonObject) place(source string, epoch uint32, pos string) {
	o.text("source", source)
	o.number("epoch", int64(epoch))
	o.text("pos", pos)
}

func (o *jsonObject) progress(p *Progress) {
	o.text("side", p.Side.String())
	o.place(p.Source, p.Epoch, p.Pos)
	o.time("ts", p.TS)
	if p.ClockOffset != 0 {
		o.number("clock_offset_us", int64(p.ClockOffset))
	}
	if p.ClockError != 0 {
		o.number("clock_error_us", int64(p.ClockError))
	}
}

func (o *jsonObject) covered(c *Covered) {
	o.text("side", c.Side.String())
	o.text("entity", c.Entity)
	if len(c.From) > 0 {
		o.texts("from", c.From)
	}
	if len(c.To) > 0 {
		o.texts("to", c.To)
	}
	o.place(c.Source, c.Epoch, c.Pos)
	o.said("read_from", c.ReadFrom)
}

func (o *jsonObject) gap(g *Gap) {
	o.text("side", g.Side.String())
	o.said("entity", g.Entity)
	o.text("source", g.Source)
	o.number("epoch", int64(g.Epoch))
	o.said("pos", g.Pos)
	if g.Ordinal != 0 {
		o.number("ordinal", int64(g.Ordinal))
	}
	o.text("reason", g.Reason)
	o.saidTime("ts", g.TS)
}

func (o *jsonObject) quarantine(q *Quarantine) {
	o.text("side", q.Side.String())
	o.text("entity", q.Entity)
	if len(q.Key) > 0 {
		o.texts("key", q.Key)
	}
	o.place(q.Source, q.Epoch, q.Pos)
	o.number("ordinal", int64(q.Ordinal))
	o.said("txn", q.Txn)
	if q.Read {
		o.bool("read", true)
	}
	o.time("commit_ts", q.CommitTS)
	o.saidTime("commit_ts_min", q.CommitTSMin)
	o.saidTime("stamp", q.Stamp)
	o.text("digest", hex.EncodeToString(q.Digest[:]))
	o.text("reason", q.Reason)
}

func (o *jsonObject) control(c *Control) {
	o.said("rules", c.Rules)
	o.rule(EntityControl{Authority: c.Authority, SettleWindow: c.SettleWindow})
	o.said("baseline", c.Baseline)
	if len(c.Entities) > 0 {
		o.field("entities")
		entities := openObject(o.dst)
		for _, name := range sortedKeys(c.Entities) {
			entities.named(name)
			rule := openObject(entities.dst)
			rule.rule(c.Entities[name])
			entities.dst = rule.close()
		}
		o.dst = entities.close()
	}
	if c.Rollout != nil {
		o.rollout(c.Rollout)
	}
	if c.Definition != "" {
		o.field("definition")
		o.dst = appendDefinition(o.dst, c.Definition)
	}
}

func (o *jsonObject) rule(e EntityControl) {
	if e.Authority != 0 {
		o.text("authority", e.Authority.String())
	}
	if e.SettleWindow != 0 {
		o.text("settle_window", e.SettleWindow.Sub(0).String())
	}
}

// base64Definition begins a definition that is a text, not the object that it
// looks like.
const base64Definition = `{"base64":`

// appendDefinition appends a definition as the JSON object that it is, or as
// text where it is none that can stand in a line.
func appendDefinition(dst []byte, definition string) []byte {
	r := jsonReader{src: definition}
	if r.definition() == definition && r.problem == nil && !strings.ContainsAny(definition, "\r\n") &&
		!strings.HasPrefix(definition, base64Definition) {
		return append(dst, definition...)
	}
	return appendText(dst, definition)
}
