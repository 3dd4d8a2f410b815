package schemas

import (
	"maps"
	"math"
	"slices"

	"pgregory.net/rapid"
)

// Generators of whatever the types can hold: texts of any bytes, rows with
// and without columns, images that are absent, tags said in part.

var (
	genText = rapid.OneOf(
		rapid.SampledFrom([]string{"", "42", "new", "10.50", "ü", "a\"b\\c\n\t\x00\x1f\x7f", "<&>", "\u2028\u2029", "\U0001F600",
			"\xff", "a\xc3", "\xed\xa0\x80", "\ufffd", `{"a":1}`, "base64:QQ=="}),
		rapid.String(),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 40), func(b []byte) string { return string(b) }))
	genWord  = rapid.StringMatching(`[a-z][a-z0-9_-]{0,8}`)
	genSide  = rapid.SampledFrom(Sides[:])
	genTime  = rapid.Map(rapid.Int64Range(int64(minMicros), int64(maxMicros)), func(n int64) Micros { return Micros(n) })
	genEpoch = rapid.Uint32()
)

func genTexts(t *rapid.T, label string, least int) []string {
	texts := rapid.SliceOfN(genText, least, 4).Draw(t, label)
	if len(texts) == 0 {
		return nil
	}
	return texts
}

func genRow(t *rapid.T, label string, absent bool) Row {
	return genRowOf(t, label, absent, Unavailable)
}

// genEventRow is a row of a derived event, whose values may be masked.
func genEventRow(t *rapid.T, label string) Row { return genRowOf(t, label, true, Masked) }

func genRowOf(t *rapid.T, label string, absent bool, last Presence) Row {
	if absent && rapid.Bool().Draw(t, label+" absent") {
		return nil
	}
	columns := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) Column {
		c := Column{Name: genText.Draw(t, "column"), Presence: Presence(rapid.IntRange(0, int(last)).Draw(t, "presence"))}
		if c.Presence == Value || c.Presence == Masked {
			c.Text = genText.Draw(t, "text")
		}
		return c
	}), 0, 40, func(c Column) string { return c.Name }).Draw(t, label)
	return append(Row{}, columns...)
}

func genTag(t *rapid.T) Tag {
	return Tag{
		WriteID: genText.Draw(t, "write id"), Traceparent: genText.Draw(t, "traceparent"),
		FlagEpoch: genText.Draw(t, "flag epoch"), CompensationID: genText.Draw(t, "compensation id"),
		Service: genText.Draw(t, "service"),
	}
}

func genEventID(t *rapid.T) EventID {
	return EventID{
		Source: genWord.Draw(t, "source"), Epoch: genEpoch.Draw(t, "epoch"), Pos: genWord.Draw(t, "pos"),
		Ordinal: rapid.Uint32().Draw(t, "ordinal"),
	}
}

func genChange(t *rapid.T) *Change {
	c := &Change{
		EventID: genEventID(t), Side: genSide.Draw(t, "side"), Entity: genWord.Draw(t, "entity"),
		Op: Op(rapid.IntRange(1, 5).Draw(t, "op")), Txn: genText.Draw(t, "txn"),
		CommitTS: genTime.Draw(t, "commit_ts"), CommitTSMin: genTime.Draw(t, "commit_ts_min"), Stamp: genTime.Draw(t, "stamp"),
		TxnRows: rapid.Uint32().Draw(t, "txn_rows"), Tag: genTag(t),
	}
	if c.Op != OpTruncate {
		c.Key = genTexts(t, "key", 1)
		c.Before = genRow(t, "before", true)
	}
	if c.Op != OpTruncate && c.Op != OpDelete {
		c.After = genRow(t, "after", false)
	}
	if rapid.Bool().Draw(t, "digested") {
		c.Mapping = genWord.Draw(t, "mapping")
		copy(c.Digest[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "digest"))
		if c.Before != nil && rapid.Bool().Draw(t, "digested before") {
			copy(c.BeforeDigest[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "before digest"))
		}
	}
	return c
}

func genRule(t *rapid.T) EntityControl {
	return EntityControl{
		Authority:    rapid.SampledFrom([]Side{0, Legacy, Target}).Draw(t, "authority"),
		SettleWindow: Micros(rapid.Int64Range(0, int64(maxWindow)).Draw(t, "settle window")),
	}
}

func genControl(t *rapid.T) *Control {
	rule := genRule(t)
	c := &Control{
		Rules: genText.Draw(t, "rules"), Authority: rule.Authority, SettleWindow: rule.SettleWindow,
		Baseline: rapid.SampledFrom([]string{"", BaselineEmpty}).Draw(t, "baseline"),
		Definition: rapid.OneOf(rapid.SampledFrom([]string{"", `{}`, `{"order":{"key":["id"],"n":-1.5e3,"x":[true,null]}}`, `{"a":1,"a":2}`, "{\n}", ` {}`,
			`{} `, `{`, `[]`}), genText).Draw(t, "definition"),
	}
	names := rapid.SliceOfDistinct(genText, rapid.ID[string]).Draw(t, "entities")
	for _, name := range names {
		if c.Entities == nil {
			c.Entities = map[string]EntityControl{}
		}
		c.Entities[name] = genRule(t)
	}
	if rapid.Bool().Draw(t, "moves") {
		c.Rollout = genRollout(t)
	}
	return c
}

func genRollout(t *rapid.T) *RolloutControl {
	r := &RolloutControl{Name: rapid.StringMatching(`[a-z][a-z0-9]{0,8}`).Draw(t, "rollout"), Revision: rapid.Uint64Range(1, math.MaxInt64).Draw(t, "revision"),
		Epoch: rapid.Uint64Range(1, math.MaxInt64).Draw(t, "epoch of the rollout"), Stage: rapid.SampledFrom(RolloutStages).Draw(t, "stage"),
		Salt: genText.Draw(t, "salt"), Fence: genTime.Draw(t, "fence")}
	if r.Stage == StageRamp {
		r.Ramp = RampShare(rapid.Uint32Range(0, uint32(WholeRamp)).Draw(t, "ramp"))
	}
	for range rapid.IntRange(0, 3).Draw(t, "pins") {
		r.Pins = append(r.Pins, Pin{Key: genTexts(t, "pin", 1), Side: genSide.Draw(t, "pinned")})
	}
	return r
}

// genRecord makes a record of any kind that stands on a topic.
func genRecord(t *rapid.T) *Record {
	side, epoch := genSide.Draw(t, "side"), genEpoch.Draw(t, "epoch")
	source, pos := genText.Draw(t, "source"), genText.Draw(t, "pos")
	switch rapid.IntRange(0, 8).Draw(t, "kind") {
	case 0:
		return &Record{Progress: &Progress{
			Side: side, Source: source, Epoch: epoch, Pos: pos, TS: genTime.Draw(t, "ts"),
			ClockOffset: Micros(rapid.Int64().Draw(t, "offset")), ClockError: Micros(rapid.Int64().Draw(t, "error")),
		}}
	case 1:
		return &Record{Covered: &Covered{
			Side: side, Entity: genWord.Draw(t, "entity"), From: genTexts(t, "from", 0), To: genTexts(t, "to", 0),
			Source: source, Epoch: epoch, Pos: pos, ReadFrom: genText.Draw(t, "read_from"),
		}}
	case 2:
		return &Record{Control: genControl(t)}
	case 3:
		return &Record{Gap: &Gap{
			Side: side, Source: source, Epoch: epoch, Pos: pos, Reason: genText.Draw(t, "reason"), TS: genTime.Draw(t, "ts"),
		}}
	case 4:
		return &Record{Gap: &Gap{
			Side: side, Entity: genWord.Draw(t, "entity"), Source: genWord.Draw(t, "source"), Epoch: epoch, Pos: genWord.Draw(t, "pos"),
			Reason: genText.Draw(t, "reason"), TS: genTime.Draw(t, "ts"), Ordinal: rapid.Uint32().Draw(t, "ordinal"),
		}}
	case 5:
		q := &Quarantine{
			EventID: genEventID(t), Side: side, Entity: genWord.Draw(t, "entity"), Key: genTexts(t, "key", 0), Txn: genText.Draw(t, "txn"),
			CommitTS: genTime.Draw(t, "commit_ts"), CommitTSMin: genTime.Draw(t, "commit_ts_min"), Stamp: genTime.Draw(t, "stamp"),
			Reason: genText.Draw(t, "reason"), Read: rapid.Bool().Draw(t, "read"),
		}
		copy(q.Digest[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "digest"))
		return &Record{Quarantine: q}
	}
	return &Record{Change: genChange(t)}
}

func genEvidence(t *rapid.T, label string) *Evidence {
	if rapid.Bool().Draw(t, label+" absent") {
		return nil
	}
	e := &Evidence{
		EventID: genEventID(t), Side: genSide.Draw(t, "side"), Op: Op(rapid.IntRange(1, 5).Draw(t, "op")),
		Txn: genText.Draw(t, "txn"), CommitTS: genTime.Draw(t, "commit_ts"), Tag: genTag(t), Row: genEventRow(t, "row"),
	}
	if rapid.Bool().Draw(t, "placed") {
		place := genPlace.Draw(t, "place")
		e.Place = &place
	}
	if rapid.Bool().Draw(t, "values") {
		e.Values = maps.Collect(func(yield func(string, *string) bool) {
			for _, name := range rapid.SliceOfDistinct(genText, rapid.ID[string]).Draw(t, "fields") {
				yield(name, rapid.Ptr(genText, true).Draw(t, "value"))
			}
		})
	}
	return e
}

func genDivergence(t *rapid.T) *Divergence {
	return &Divergence{
		ID: genText.Draw(t, "id"), Stage: rapid.SampledFrom([]Stage{Opened, Updated, Closed}).Draw(t, "stage"),
		Verdict: rapid.SampledFrom(Kinds).Draw(t, "verdict"), Entity: genWord.Draw(t, "entity"), Key: genTexts(t, "key", 0),
		Since: genTime.Draw(t, "since"), OpenedAt: genTime.Draw(t, "opened_at"), At: genTime.Draw(t, "at"),
		Side: genSide.Draw(t, "side"), Authority: genEvidence(t, "authority"), Follower: genEvidence(t, "follower"),
		Cause: genEvidence(t, "cause"),

		AuthorityAbsent: rapid.Bool().Draw(t, "authority absent"),
		RolloutEpoch:    rapid.Uint64Range(0, math.MaxInt64).Draw(t, "rollout epoch"), HandedOver: rapid.Bool().Draw(t, "handed over"),
		Fields: genTexts(t, "fields", 0), ClosedBy: genEvidence(t, "closed by"), ClosedAt: genTime.Draw(t, "closed_at"),
		FieldRules: someOf(t, "field rules", rapid.Custom(func(t *rapid.T) FieldRule {
			return FieldRule{genText.Draw(t, "field"), genTexts(t, "field's rules", 1), genTexts(t, "applied", 0)}
		})),
		Rules: genText.Draw(t, "rules"), Sequence: rapid.Uint32().Draw(t, "sequence"),
	}
}

func genCompensation(t *rapid.T) *Compensation {
	c := genBareCompensation(t)
	if rapid.Bool().Draw(t, "by a rollout") {
		c.Authority, c.RolloutEpoch = genSide.Draw(t, "authority"), rapid.Uint64Range(1, math.MaxInt64).Draw(t, "rollout epoch")
	}
	return c
}

func genBareCompensation(t *rapid.T) *Compensation {
	return &Compensation{
		ID: genText.Draw(t, "id"), DivergenceID: genText.Draw(t, "divergence"), Sequence: rapid.Uint32().Draw(t, "sequence"),
		Entity: genWord.Draw(t, "entity"), Key: genTexts(t, "key", 0), Side: genSide.Draw(t, "side"),
		Policy: genText.Draw(t, "policy"), Mode: rapid.SampledFrom([]string{"report", "propose", "apply"}).Draw(t, "mode"),
		Statement: rapid.SampledFrom([]Statement{InsertRow, UpdateRow, DeleteRow}).Draw(t, "statement"),
		Schema:    genText.Draw(t, "schema"), Table: genText.Draw(t, "table"),
		KeyColumns: genEventRow(t, "key columns"), Expect: genEventRow(t, "expect"), Set: genEventRow(t, "set"),
		DerivedOf: genEventID(t), Rules: genText.Draw(t, "rules"), CreatedAt: genTime.Draw(t, "created_at"),
		Rule: genText.Draw(t, "rule"), Undoes: genText.Draw(t, "undoes"), Signature: genText.Draw(t, "signature"),
		Add: genEventRow(t, "add"), ExpiresAt: genTime.Draw(t, "expires_at"),
		Sources: someOf(t, "sources", rapid.Custom(func(t *rapid.T) FieldSource {
			return FieldSource{Field: genText.Draw(t, "field"), EventID: genEventID(t)}
		})),
		Rows: someOf(t, "rows", genPlace),
	}
}

// someOf draws a short list, nil where it is empty.
func someOf[T any](t *rapid.T, label string, of *rapid.Generator[T]) []T {
	return append([]T(nil), rapid.SliceOfN(of, 0, 3).Draw(t, label)...)
}

var genPlace = rapid.Custom(func(t *rapid.T) RowPlace {
	return RowPlace{Side: genSide.Draw(t, "side"), Partition: rapid.Int32Min(0).Draw(t, "partition"), Offset: rapid.Int64Min(0).Draw(t, "offset")}
})

func genDecision(t *rapid.T) *Decision {
	d := &Decision{
		Action: rapid.SampledFrom([]Action{Approve, Reject, Undo, Pause, Resume, Trip}).Draw(t, "action"),
		By:     genText.Draw(t, "by"), Why: genText.Draw(t, "why"), At: genTime.Draw(t, "at"), Signature: rapid.SampledFrom([]string{"", "hmac-sha256:00:11"}).Draw(t, "signature"),
	}
	if d.Action == Resume && rapid.Bool().Draw(t, "one breaker") || d.Action == Trip {
		d.Scope = genWord.Draw(t, "scope")
	}
	if d.Action != Pause && d.Action != Resume && d.Action != Trip {
		d.CompensationID = genWord.Draw(t, "compensation")
	}
	return d
}

func genEvent(t *rapid.T) *Event {
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return &Event{Compensation: genCompensation(t)}
	case 1:
		return &Event{Outcome: &Outcome{
			CompensationID: genText.Draw(t, "compensation"), DivergenceID: genText.Draw(t, "divergence"),
			Entity: genText.Draw(t, "entity"), Key: genTexts(t, "key", 0), Result: rapid.SampledFrom(Results).Draw(t, "result"),
			Detail: genText.Draw(t, "detail"), By: genText.Draw(t, "by"), At: genTime.Draw(t, "at"),
		}}
	case 2:
		return &Event{Decision: genDecision(t)}
	}
	return &Event{Divergence: genDivergence(t)}
}

// unavailableLast returns the row as the JSON forms bring it back.
func unavailableLast(row Row) Row {
	if row == nil {
		return nil
	}
	sorted := append(Row{}, row...)
	slices.SortStableFunc(sorted, func(a, b Column) int {
		switch {
		case a.Presence != Unavailable && b.Presence == Unavailable:
			return -1
		case a.Presence == Unavailable && b.Presence != Unavailable:
			return 1
		}
		return 0
	})
	return sorted
}
