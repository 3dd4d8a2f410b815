package shop

import (
	"database/sql"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// Tags arrive in both logs, in the transaction that they are of; an aborted
// transaction and an untagged one say nothing.
func TestTagsArriveInTheLogs(t *testing.T) {
	s, legacyDSN, _ := openShop(t)
	conn, err := pgx.Connect(t.Context(), legacyDSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), `select pg_create_logical_replication_slot('tags', 'test_decoding')`); err != nil {
		t.Fatal(err)
	}
	server, err := sql.Open("mysql", servertest.MariaDB(t).DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	var file, from, ignored string
	if err := server.QueryRowContext(t.Context(), `show master status`).Scan(&file, &from, &ignored, &ignored); err != nil {
		t.Fatal(err)
	}

	v := newValues(1, 1)
	tag, aborted := v.tag(1, 1), v.tag(1, 2)
	steps := []Step{putOrder{v.order(1)}, putLines{v.lines(1, 2)}}
	for _, w := range []struct {
		tag   Tag
		abort bool
		steps []Step
	}{{tag, false, steps}, {aborted, true, []Step{setOrder{v.order(1)}}}, {Tag{}, false, []Step{setStates{[]int64{1}, "by hand"}}}} {
		if err := s.writeLegacy(t.Context(), w.tag, w.abort, w.steps); err != nil {
			t.Fatal(err)
		}
		if err := s.writeTarget(t.Context(), w.tag, w.abort, w.steps); err != nil {
			t.Fatal(err)
		}
	}

	rows, err := conn.Query(t.Context(), `select data from pg_logical_slot_get_changes('tags', null, null)`)
	if err != nil {
		t.Fatal(err)
	}
	wal, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(wal, "\n")
	for want, times := range map[string]int{tag.WriteID: 1, `"traceparent":"` + tag.Traceparent: 1, `"service":"` + tag.Service: 1,
		"prefix: trueup": 1, aborted.WriteID: 0, "COMMIT": 2, "by hand": 1} {
		if got := strings.Count(text, want); got != times {
			t.Errorf("the legacy log has %q %d times, want %d:\n%s", want, got, times, text)
		}
	}

	events, err := server.QueryContext(t.Context(), `show binlog events in '`+file+`' from `+from)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	var annotated []string
	for events.Next() {
		var log, pos, kind, id, end, info string
		if err := events.Scan(&log, &pos, &kind, &id, &end, &info); err != nil {
			t.Fatal(err)
		}
		if kind == "Annotate_rows" {
			annotated = append(annotated, info)
		}
	}
	if err := events.Err(); err != nil {
		t.Fatal(err)
	}
	text = strings.Join(annotated, "\n")
	for want, times := range map[string]int{
		"/*traceparent='" + tag.Traceparent + "',write_id='" + tag.WriteID + "',service='" + tag.Service + "'*/ insert": 2,
		aborted.WriteID: 0, "by hand": 1, "/*": 2} {
		if got := strings.Count(text, want); got != times {
			t.Errorf("the target's log has %q %d times, want %d:\n%s", want, got, times, text)
		}
	}
}
