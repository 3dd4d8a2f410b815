package postgres

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// Relations of the scripted server.
var (
	ordersByKey = relation{id: 7, namespace: "public", name: "orders", identity: 'd', columns: []relationColumn{
		{true, "id", 20, -1}, {false, "status", 25, -1}, {false, "amount", 1700, -1}, {false, "note", 25, -1}}}
	ordersInFull = func() relation {
		r := ordersByKey
		r.identity, r.columns = 'f', slices.Clone(r.columns)
		for i := range r.columns {
			r.columns[i].inIdentity = true
		}
		return r
	}()
	elsewhere = relation{id: 8, namespace: "public", name: "elsewhere", identity: 'd', columns: []relationColumn{{true, "id", 20, -1}}}
)

func rowOf(kind byte, rel relation, oldKind byte, old, new []cell) string {
	return rowMessage{relation: rel.id, oldKind: oldKind, old: old, new: new}.encode(kind)
}

func insertOf(rel relation, cells ...cell) string { return rowOf(kindInsert, rel, oldNone, nil, cells) }

func order(id, status string) []cell {
	return []cell{text(id), text(status), text("1.50"), null}
}

// scripted is an assembler whose server is the test.
type scripted struct {
	*assembler
	got     []schemas.Change
	refused []*capture.RowError
	done    []done
}

func newScripted(t testing.TB) *scripted {
	cfg := Config{Side: schemas.Legacy, Source: "pg-main", Rules: rulesOf(t, orderEntity)}.withDefaults()
	s := &scripted{}
	s.assembler = &assembler{cfg: &cfg, log: slog.New(slog.DiscardHandler), epoch: 3, bounds: new(bounds), stats: new(counters),
		spills: spills{dir: t.TempDir(), limit: spillBytes, stats: new(counters)}, streams: map[uint32]*txn{},
		relations: relations{rules: cfg.Rules, side: cfg.Side, known: map[uint32]*mapped{}, noticed: map[uint32]*mapped{},
			catalog: map[string]*table{"public.orders": {OID: 7, Kind: "r"}}},
		emit:   func(_ lsn, c *schemas.Change) error { s.got = append(s.got, ownCopy(c)); return nil },
		refuse: func(e *capture.RowError) error { s.refused = append(s.refused, e); return nil }}
	s.reuse(true)
	return s
}

// ownCopy is a change as it is now, whatever its memory is used for afterwards.
func ownCopy(c *schemas.Change) schemas.Change {
	own := *c
	own.Key, own.Before, own.After = slices.Clone(c.Key), slices.Clone(c.Before), slices.Clone(c.After)
	return own
}

const (
	someStamp schemas.Micros = 1_790_000_000_000_000
	someSent                 = someStamp + 900
)

func (s *scripted) play(messages ...string) error {
	for _, m := range messages {
		d, err := s.message(m, someSent, time.Unix(0, 0))
		if err != nil {
			return err
		}
		if d.end != 0 {
			s.done = append(s.done, d)
		}
	}
	return nil
}

// whole plays a transaction whose commit record starts at p and is 0x30 long.
func (s *scripted) whole(t testing.TB, p lsn, messages ...string) []schemas.Change {
	t.Helper()
	before := len(s.got)
	all := append([]string{begin{p, someStamp, 771}.encode()}, messages...)
	if err := s.play(append(all, commit{0, p, p + 0x30, someStamp}.encode())...); err != nil {
		t.Fatal(err)
	}
	return s.got[before:]
}

// said is a change in short: ordinal op key before→after.
func said(c schemas.Change) string {
	image := func(row schemas.Row) string {
		if row == nil {
			return "-"
		}
		var b strings.Builder
		for _, c := range row {
			switch c.Presence {
			case schemas.Null:
				fmt.Fprintf(&b, "%s=NULL ", c.Name)
			case schemas.Unavailable:
				fmt.Fprintf(&b, "%s? ", c.Name)
			default:
				fmt.Fprintf(&b, "%s=%s ", c.Name, c.Text)
			}
		}
		return strings.TrimSpace(b.String())
	}
	return fmt.Sprintf("%d %s %v: %s -> %s", c.Ordinal, c.Op, c.Key, image(c.Before), image(c.After))
}

func sayAll(changes []schemas.Change) (lines []string) {
	for _, c := range changes {
		lines = append(lines, said(c))
	}
	return lines
}

func want(t testing.TB, got []schemas.Change, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(lines, sayAll(got)); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// I3: "same change ⇒ same EventID after any restart; different changes ⇒
// different IDs". Rows that share a position differ by ordinal; rows of other
// tables and rows that move count, so that ids do not depend on them.
func TestI3_OrdinalsAreUniqueWithinTransaction(t *testing.T) {
	s := newScripted(t)
	got := s.whole(t, 0x1000, ordersByKey.encode(), elsewhere.encode(),
		insertOf(ordersByKey, order("1", "new")...),
		insertOf(elsewhere, text("9")),
		insertOf(ordersByKey, order("2", "new")...),
		rowOf(kindUpdate, ordersByKey, oldKey, []cell{text("1"), null, null, null}, order("5", "moved")),
		insertOf(ordersByKey, order("3", "new")...))
	want(t, got,
		"0 insert [1]: - -> id=1 status=new amount=1.50 note=NULL",
		"2 insert [2]: - -> id=2 status=new amount=1.50 note=NULL",
		"3 delete [1]: id=1 -> -",
		"4 insert [5]: - -> id=5 status=moved amount=1.50 note=NULL",
		"5 insert [3]: - -> id=3 status=new amount=1.50 note=NULL")
	for _, c := range got {
		if c.Pos != "0000000000001000" || c.Epoch != 3 || c.Source != "pg-main" || c.Txn != "771" || c.TxnRows != 5 {
			t.Errorf("id %+v, txn %s of %d rows", c.EventID, c.Txn, c.TxnRows)
		}
		if c.Stamp != someStamp || c.CommitTSMin != someStamp || c.CommitTS != someSent {
			t.Errorf("times %d, %d, %d", c.Stamp, c.CommitTSMin, c.CommitTS)
		}
	}
	if d := s.done[0]; d.end != 0x1030 || d.stamp != someStamp {
		t.Errorf("done %+v", d)
	}
}

// A key that changes only in its text is the same key.
func TestUpdateOfSameCanonicalKeyIsAnUpdate(t *testing.T) {
	s := newScripted(t)
	got := s.whole(t, 0x1000, ordersByKey.encode(),
		rowOf(kindUpdate, ordersByKey, oldKey, []cell{text("+01"), null, null, null}, order("1", "x")),
		rowOf(kindUpdate, ordersByKey, oldNone, nil, order("1", "y")))
	want(t, got,
		"0 update [1]: id=+01 -> id=1 status=x amount=1.50 note=NULL",
		"1 update [1]: - -> id=1 status=y amount=1.50 note=NULL")
}

// I9: "unchanged TOAST / partial row image / missing column is unavailable;
// never equal to NULL". Under FULL the old row has the value; a key tuple's
// nulls are not values.
func TestI9_UnchangedIsUnavailableNotNull(t *testing.T) {
	s := newScripted(t)
	toasted := []cell{text("1"), text("new"), text("2.00"), unchanged}
	got := s.whole(t, 0x1000, ordersByKey.encode(),
		rowOf(kindUpdate, ordersByKey, oldNone, nil, toasted),
		rowOf(kindUpdate, ordersByKey, oldKey, []cell{text("9"), null, null, null}, toasted),
		rowOf(kindDelete, ordersByKey, oldKey, []cell{text("1"), null, null, null}, nil))
	want(t, got,
		"0 update [1]: - -> id=1 status=new amount=2.00 note?",
		"1 delete [9]: id=9 -> -",
		"2 insert [1]: - -> id=1 status=new amount=2.00 note?",
		"3 delete [1]: id=1 -> -")
	for _, c := range got {
		if (c.Mapping != "") != (c.Op == schemas.OpDelete) {
			t.Errorf("%s: a digest of a row that is not known whole", said(c))
		}
	}
	got = s.whole(t, 0x2000, ordersInFull.encode(),
		rowOf(kindUpdate, ordersInFull, oldFull, []cell{text("1"), null, text("1.50"), text("long")}, toasted),
		rowOf(kindUpdate, ordersInFull, oldFull, []cell{text("1"), null, text("1.50"), null}, toasted))
	want(t, got,
		"0 update [1]: id=1 status=NULL amount=1.50 note=long -> id=1 status=new amount=2.00 note=long",
		"1 update [1]: id=1 status=NULL amount=1.50 note=NULL -> id=1 status=new amount=2.00 note=NULL")
	e, _ := s.cfg.Rules.Entity("order")
	if c := got[0]; c.Mapping != s.cfg.Rules.Version || c.Digest != e.Image(schemas.Legacy, c.After).Digest {
		t.Errorf("digest %x under %q", c.Digest, c.Mapping)
	}
	if c := got[0]; c.BeforeDigest != (schemas.Digest{}) {
		t.Errorf("a digest of a row before, which nobody compares: %x", c.BeforeDigest)
	}
	e.DropSettled = true // now it is compared
	got = s.whole(t, 0x3000,
		rowOf(kindUpdate, ordersInFull, oldFull, []cell{text("1"), null, text("1.50"), text("long")}, toasted),
		rowOf(kindDelete, ordersInFull, oldFull, []cell{text("1"), null, text("1.50"), text("long")}, nil),
		rowOf(kindDelete, ordersByKey, oldKey, []cell{text("1"), null, null, null}, nil))
	for i, c := range got {
		if i == 2 {
			if c.BeforeDigest != (schemas.Digest{}) {
				t.Errorf("a digest of a row before that the log has no more of than its key")
			}
			continue
		}
		if c.BeforeDigest != e.Image(schemas.Legacy, c.Before).Digest || c.BeforeDigest == (schemas.Digest{}) {
			t.Errorf("%s: digest %x of the row before", said(c), c.BeforeDigest)
		}
	}
}

func tagMessage(content string) string {
	return logical{transactional: true, at: 1, prefix: tagPrefix, content: content}.encode()
}

// Decision 9: "capture attaches the tag to the changes", whether the writer
// says it before or after the rows.
func TestTagReachesRowsBeforeAndAfter(t *testing.T) {
	row := func(id string) string { return insertOf(ordersByKey, order(id, "x")...) }
	const w1, w2 = `{"write_id":"w-1","traceparent":"00-ab","flag_epoch":"7","compensation_id":"c","service":"shop","more":{"a":[1]}}`, `{"write_id":"w-2"}`
	for _, c := range []struct {
		name     string
		messages []string
		want     []string
	}{
		{"before", []string{tagMessage(w1), row("1")}, []string{"w-1"}},
		{"after", []string{row("1"), row("2"), tagMessage(w1)}, []string{"w-1", "w-1"}},
		{"two", []string{row("1"), tagMessage(w1), row("2"), tagMessage(w2), row("3")}, []string{"w-1", "w-1", "w-2"}},
		{"none", []string{row("1")}, []string{""}},
		{"other prefix", []string{logical{true, 1, "other", w1}.encode(), row("1")}, []string{""}},
		{"not transactional", []string{logical{false, 1, tagPrefix, w1}.encode(), row("1")}, []string{""}},
		{"bad", []string{tagMessage(`{"write_id":`), row("1")}, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScripted(t)
			var got []string
			for _, change := range s.whole(t, 0x1000, append([]string{ordersByKey.encode()}, c.messages...)...) {
				got = append(got, change.Tag.WriteID)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("tags %q, want %q", got, c.want)
			}
			if bad := s.stats.badTags.Load(); (bad != 0) != (c.name == "bad") {
				t.Errorf("%d bad tags", bad)
			}
			// A tag ends with its transaction.
			if next := s.whole(t, 0x2000, row("4")); next[0].Tag != (schemas.Tag{}) {
				t.Errorf("the next transaction is tagged %+v", next[0].Tag)
			}
		})
	}
}

func TestParseTag(t *testing.T) {
	full := schemas.Tag{WriteID: "w", Traceparent: "00-ab", FlagEpoch: "7", CompensationID: "c", Service: "shop"}
	for content, want := range map[string]*schemas.Tag{
		`{"write_id":"w","traceparent":"00-ab","flag_epoch":"7","compensation_id":"c","service":"shop","x":[{}],"y":null}`: &full,
		`{}`:                                  {},
		` {"write_id":null} `:                 {},
		``:                                    nil,
		`null`:                                nil,
		`["write_id"]`:                        nil,
		`{"write_id":7}`:                      nil,
		`{"write_id":"a","write_id":"b"}`:     nil,
		`{"write_id":"a"`:                     nil,
		`{"write_id":"a"} {}`:                 nil,
		`{"write_id":"a"}]`:                   nil,
		`{"WRITE_ID":"a"}`:                    {},
		`{"x":` + strings.Repeat("[", 10_000): nil,
		`{"x":"` + strings.Repeat("x", tagBytesMax) + `"}`: nil,
	} {
		got, err := parseTag(content)
		switch {
		case want == nil && err == nil:
			t.Errorf("%.40q is a tag: %+v", content, got)
		case want == nil && got != (schemas.Tag{}):
			t.Errorf("%.40q: an error and %+v", content, got)
		case want != nil && (err != nil || got != *want):
			t.Errorf("%.40q: %+v, %v", content, got, err)
		}
	}
}

// I20: "hard caps; on cap: backpressure or unknown, never drop silently": of a
// transaction above the bound the messages wait on disk, and it is handed over
// whole, with the tag that was said at its end.
func TestI20_LargeTransactionIsSpilledWhole(t *testing.T) {
	for name, c := range map[string]struct {
		rows int
		note string
	}{
		"rows":  {rows: txnRowsMax + 5},
		"bytes": {rows: 12, note: strings.Repeat("x", txnBytesMax/10)},
		"value": {rows: 3, note: strings.Repeat("y", spillBytes+1)},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted(t)
			messages := []string{begin{0x1000, someStamp, 1}.encode(), ordersByKey.encode()}
			for i := range c.rows {
				messages = append(messages, insertOf(ordersByKey, text(fmt.Sprint(i)), null, null, text(c.note)))
			}
			bad := insertOf(ordersByKey, order("x1", "")...)
			messages = append(messages, insertOf(ordersByKey, order("99999", "")...), bad,
				rowOf(kindUpdate, ordersByKey, oldKey, []cell{text("1"), null, null, null}, order("5", "moved")),
				truncate{0, []uint32{7}}.encode(), tagMessage(`{"write_id":"late"}`))
			if err := s.play(messages...); err != nil {
				t.Fatal(err)
			}
			if len(s.got) > 0 || s.txn.spill == nil || len(s.txn.waiting) > 0 {
				t.Fatalf("%d rows were handed over before the commit, %d wait", len(s.got), len(s.txn.waiting))
			}
			if held := s.spills.held; held > spillBytes {
				t.Errorf("%d bytes are held in memory", held)
			}
			if err := s.play(commit{0, 0x1000, 0x1030, someStamp}.encode()); err != nil {
				t.Fatal(err)
			}
			if len(s.got) != c.rows+4 || len(s.done) != 1 || len(s.refused) != 1 {
				t.Fatalf("%d changes of %d, %d transactions, %d refused", len(s.got), c.rows+4, len(s.done), len(s.refused))
			}
			for i, change := range s.got {
				ordinal := uint32(i)
				if i > c.rows {
					ordinal++ // the refused one has one
				}
				if change.Ordinal != ordinal || change.TxnRows != uint32(c.rows+4) || change.Tag.WriteID != "late" || change.CommitTS != someSent {
					t.Fatalf("row %d: ordinal %d, %d rows, tag %q, %d", i, change.Ordinal, change.TxnRows, change.Tag.WriteID, change.CommitTS)
				}
			}
			if r := s.refused[0]; r.Ordinal != uint32(c.rows+1) || r.Digest != messageDigest(bad) {
				t.Errorf("refused %+v", r)
			}
			noFiles(t, s.spills.dir)
		})
	}
}

// TRUNCATE is one change for each mapped table, without a key.
func TestTruncate(t *testing.T) {
	s := newScripted(t)
	got := s.whole(t, 0x1000, ordersByKey.encode(), elsewhere.encode(),
		truncate{3, []uint32{8, 7}}.encode(), insertOf(ordersByKey, order("1", "x")...))
	want(t, got, "1 truncate []: - -> -", "2 insert [1]: - -> id=1 status=x amount=1.50 note=NULL")
	if got[0].Entity != "order" || got[0].Mapping != "" {
		t.Errorf("%+v", got[0])
	}
}

// I8: "each event decoded with the schema valid at its position": columns are
// those of the latest description; a table that took the name of another one
// is a break.
func TestI8_RowsAreReadByTheDescriptionAtTheirPosition(t *testing.T) {
	s := newScripted(t)
	added := ordersByKey
	added.columns = append(slices.Clone(added.columns[:1]), added.columns[2:]...)
	added.columns = append(added.columns, relationColumn{false, "status", 25, -1}, relationColumn{false, "more", 25, -1})
	got := s.whole(t, 0x1000, ordersByKey.encode(), insertOf(ordersByKey, order("1", "x")...),
		added.encode(), insertOf(added, text("2"), text("1.5"), null, text("y"), text("z")))
	want(t, got, "0 insert [1]: - -> id=1 status=x amount=1.50 note=NULL",
		"1 insert [2]: - -> id=2 amount=1.5 note=NULL status=y more=z")

	dropped := ordersByKey
	dropped.columns = dropped.columns[:3]
	other := ordersByKey
	other.id = 99
	dated := ordersByKey
	dated.columns = slices.Clone(dated.columns)
	dated.columns[2].oid = 1082
	wide := ordersByKey
	wide.columns = slices.Clone(wide.columns)
	wide.columns[2].oid = 1043
	for name, c := range map[string]struct {
		now  relation
		says string
	}{
		"column gone":   {dropped, "is gone"},
		"other table":   {other, "dropped and created again"},
		"unreadable":    {dated, "another type"},
		"key not known": {keyless(ordersByKey), "not part of the replica identity"},
		"still read":    {wide, ""},
	} {
		s := newScripted(t)
		var said []capture.Halt
		s.halts = newHalts(nil)
		s.halts.tell = func(h capture.Halt) error {
			said = append(said, h)
			return nil
		}
		cells := order("4", "x")[:len(c.now.columns)]
		got := s.whole(t, 0x2000, ordersByKey.encode(), insertOf(ordersByKey, order("3", "x")...), c.now.encode(), insertOf(c.now, cells...), insertOf(c.now, cells...))
		switch {
		case c.says == "" && (len(said) != 0 || len(got) != 3):
			t.Errorf("%s: halted %v", name, said)
		case c.says != "" && (len(said) != 1 || !strings.Contains(said[0].Reason, c.says) || said[0].Pos != posText(0x2000) || said[0].Remedy == "" || len(got) != 1 || got[0].Key[0] != "3"):
			t.Errorf("%s: halted %+v, handed over %d rows; want one halt at the transaction, behind its first row", name, said, len(got))
		}
	}
}

func keyless(r relation) relation {
	r.columns = slices.Clone(r.columns)
	r.columns[0].inIdentity, r.columns[1].inIdentity = false, true
	return r
}

// A row whose canonical key is not in the log is refused with what to do.
func TestRowWithoutKeyIsRefused(t *testing.T) {
	byStatus := ordersByKey
	byStatus.columns = slices.Clone(byStatus.columns)
	byStatus.columns[0].inIdentity, byStatus.columns[1].inIdentity = false, true
	for name, row := range map[string]string{
		"null key":                 insertOf(ordersByKey, null, null, null, null),
		"no number":                insertOf(ordersByKey, order("seven", "")...),
		"delete by other identity": rowOf(kindDelete, byStatus, oldKey, []cell{null, text("x"), null, null}, nil),
		"update by other identity": rowOf(kindUpdate, byStatus, oldNone, nil, order("1", "x")),
		"move by other identity":   rowOf(kindUpdate, byStatus, oldKey, []cell{null, text("y"), null, null}, order("1", "x")),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScripted(t)
			rel := ordersByKey
			if strings.Contains(name, "identity") {
				rel = byStatus
			}
			got := s.whole(t, 0x1000, rel.encode(), insertOf(rel, order("1", "a")...), row, insertOf(rel, order("2", "b")...))
			first, second := "0 insert [1]: - -> id=1 status=a amount=1.50 note=NULL", "insert [2]: - -> id=2 status=b amount=1.50 note=NULL"
			if row[0] == kindUpdate { // what the row is now can be read
				want(t, got, first, "2 insert [1]: - -> id=1 status=x amount=1.50 note=NULL", "3 "+second)
			} else {
				want(t, got, first, "2 "+second)
			}
			if len(s.refused) != 1 || s.refused[0].Ordinal != 1 || s.refused[0].Digest != messageDigest(row) {
				t.Fatalf("refused %v", s.refused)
			}
			if says := s.refused[0].Error(); strings.Contains(name, "identity") != strings.Contains(says, "REPLICA IDENTITY FULL") {
				t.Error(says)
			}
		})
	}
}

// What was delivered before comes again only when a server counts otherwise
// than we do; it is not handed over twice.
func TestDeliveredTransactionIsSkipped(t *testing.T) {
	s := newScripted(t)
	s.from = 0x1030
	got := s.whole(t, 0x1000, ordersByKey.encode(), insertOf(ordersByKey, order("1", "a")...))
	want(t, got)
	got = s.whole(t, 0x1030, insertOf(ordersByKey, order("2", "b")...))
	want(t, got, "0 insert [2]: - -> id=2 status=b amount=1.50 note=NULL")
}

// The partitions of a table with a full replica identity have their own one:
// their old rows hold the primary key, though the table is described otherwise.
func TestPartitionsLogTheirOwnIdentity(t *testing.T) {
	s := newScripted(t)
	s.relations.catalog["public.orders"] = &table{OID: 7, Kind: "p", Columns: []column{{Name: "id", InPrimary: true}, {Name: "status"}}}
	got := s.whole(t, 0x1000, ordersInFull.encode(),
		rowOf(kindUpdate, ordersInFull, oldNone, nil, order("1", "a")),
		rowOf(kindUpdate, ordersInFull, oldKey, []cell{text("1"), null, null, null}, order("2", "b")),
		rowOf(kindUpdate, ordersInFull, oldFull, order("2", "b"), order("2", "c")),
		rowOf(kindDelete, ordersInFull, oldFull, []cell{text("2"), null, null, null}, nil))
	want(t, got,
		"0 update [1]: - -> id=1 status=a amount=1.50 note=NULL",
		"1 delete [1]: id=1 -> -",
		"2 insert [2]: - -> id=2 status=b amount=1.50 note=NULL",
		"3 update [2]: id=2 status=b amount=1.50 -> id=2 status=c amount=1.50 note=NULL",
		"4 delete [2]: id=2 -> -")
}

// A stamp of another server says nothing of this one's clock.
func TestForeignStampIsNoBound(t *testing.T) {
	s := newScripted(t)
	future := someSent + 1e12
	if err := s.play(begin{0x1000, future, 1}.encode(), origin{1, "up"}.encode(), ordersByKey.encode(),
		insertOf(ordersByKey, order("1", "a")...), commit{0, 0x1000, 0x1030, future}.encode()); err != nil {
		t.Fatal(err)
	}
	if c := s.got[0]; c.Stamp != future || c.CommitTSMin != 0 || c.CommitTS != someSent {
		t.Errorf("stamp %d, bounds %d to %d", c.Stamp, c.CommitTSMin, c.CommitTS)
	}
	if s.done[0].stamp != 0 {
		t.Error("the frontier takes a foreign stamp")
	}
}

// Bad input 3 and its like: what is not the protocol is an error, not a skip.
func TestBadInput3_ProtocolViolations(t *testing.T) {
	b := begin{0x1000, someStamp, 1}.encode()
	for name, messages := range map[string][]string{
		"empty":                   {""},
		"unknown kind":            {b, "Z"},
		"unknown relation":        {b, insertOf(ordersByKey, order("1", "a")...)},
		"unknown truncated":       {b, truncate{0, []uint32{4}}.encode()},
		"row outside":             {ordersByKey.encode(), insertOf(ordersByKey, order("1", "a")...)},
		"too few columns":         {b, ordersByKey.encode(), insertOf(ordersByKey, text("1"))},
		"block within":            {b, streamStart{9, true}.encode()},
		"block out of nothing":    {streamStart{9, false}.encode()},
		"block begins twice":      {streamStart{9, true}.encode(), streamStop, streamStart{9, true}.encode()},
		"begin in a block":        {streamStart{9, true}.encode(), b},
		"row after a block":       {ordersByKey.encode(), streamStart{9, true}.encode(), streamStop, inStream(9, insertOf(ordersByKey, order("1", "a")...))},
		"commit of no stream":     {streamCommit{9, commit{0, 0x1000, 0x1030, someStamp}}.encode()},
		"abort of no stream":      {streamAbort{9, 9}.encode()},
		"begin within":            {b, b},
		"commit outside":          {commit{0, 0x1000, 0x1030, someStamp}.encode()},
		"commit of another":       {b, commit{0, 0x2000, 0x2030, someStamp}.encode()},
		"commit without a length": {b, commit{0, 0x1000, 0x1000, someStamp}.encode()},
	} {
		if err := newScripted(t).play(messages...); !errors.Is(err, errMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No sequence of messages makes the assembler panic.
func FuzzAssembler(f *testing.F) {
	f.Add([]byte(begin{0x1000, someStamp, 1}.encode()), []byte(ordersByKey.encode()), []byte(insertOf(ordersByKey, order("1", "a")...)),
		[]byte(rowOf(kindUpdate, ordersByKey, oldKey, []cell{text("1"), null, null, null}, order("2", "b"))))
	f.Add([]byte(begin{0x1000, someStamp, 1}.encode()), []byte(ordersInFull.encode()), []byte(tagMessage(`{"write_id":"w"}`)),
		[]byte(rowOf(kindDelete, ordersInFull, oldFull, order("2", "b"), nil)))
	f.Add([]byte(streamStart{9, true}.encode()), []byte(inStream(9, ordersByKey.encode())), []byte(inStream(10, insertOf(ordersByKey, order("1", "a")...))),
		[]byte(inStream(9, tagMessage(`{"write_id":"w"}`))))
	f.Fuzz(func(t *testing.T, a, b, c, d []byte) {
		s := newScripted(t)
		err := s.play(string(a), string(b), string(c), string(d), commit{0, 0x1000, 0x1030, someStamp}.encode())
		if s.block != nil {
			err = s.play(streamStop, streamCommit{s.block.xid, commit{0, 0x1000, 0x1030, someStamp}}.encode())
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
		for _, change := range s.got {
			if err == nil && len(change.Key) == 0 && change.Op != schemas.OpTruncate {
				t.Errorf("a change without a key: %s", said(change))
			}
		}
	})
}
