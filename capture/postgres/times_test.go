package postgres

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/schemas"
)

// Decision 2 on a server: a commit lies within its bounds, and no progress had
// passed it. Writers say in the row when it was certainly not committed yet,
// and note when it certainly was; some do not wait for their flush.
func TestTimesBoundCommits(t *testing.T) {
	t.Parallel()
	d := newDB(t, `create table orders (id bigint primary key, status text, amount numeric, note text); alter table orders replica identity full`)
	cfg := d.config(orderEntity)
	cfg.ProgressEvery = 20 * time.Millisecond // many samples
	r := first(t, cfg)
	var mu sync.Mutex
	done := map[string]schemas.Micros{} // by key: the server's clock after the commit
	var writing sync.WaitGroup
	for w := range 4 {
		writing.Go(func() {
			conn, err := pgx.Connect(t.Context(), d.dsn)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close(t.Context())
			if w%2 == 1 {
				_, err = conn.Exec(t.Context(), "set synchronous_commit = off")
			}
			const micros = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
			for i := 0; err == nil && i < 150; i++ {
				id := w*1000 + i
				_, err = conn.Exec(t.Context(), fmt.Sprintf("insert into orders values (%d, %s)", id, micros))
				var after int64
				if err == nil {
					err = conn.QueryRow(t.Context(), "select "+micros).Scan(&after)
				}
				mu.Lock()
				done[fmt.Sprint(id)] = schemas.Micros(after)
				mu.Unlock()
				if i%10 == 9 {
					// An open transaction leaves log unflushed for some time.
					_, err = conn.Exec(t.Context(), fmt.Sprintf("begin; insert into orders values (%d); select pg_sleep(0.02); rollback", 10000+id))
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	writing.Wait()
	d.exec("insert into orders values (9999, '0')") // flushes all
	got := r.caughtUp(d)
	if len(got) != 601 {
		t.Fatalf("%d changes", len(got))
	}
	r.stop()
	// What progress had said when a change came.
	before := map[schemas.EventID]schemas.Micros{}
	for i, n := 0, 0; i < len(r.sink.progress); i++ {
		for ; n < len(got) && got[n].Pos <= r.sink.progress[i].Pos; n++ {
			if i > 0 {
				before[got[n].EventID] = r.sink.progress[i-1].TS
			}
		}
	}
	var late, wide schemas.Micros
	for _, c := range got[:600] {
		status, _ := c.After.Get("status")
		said, err := strconv.ParseInt(status.Text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		began := schemas.Micros(said)
		ended := done[c.Key[0]]
		if c.CommitTS < began || c.CommitTSMin > ended {
			t.Errorf("row %s committed between %d and %d, said are %d to %d", c.Key[0], began, ended, c.CommitTSMin, c.CommitTS)
		}
		if ts := before[c.EventID]; ts >= ended {
			t.Errorf("row %s committed until %d, but progress had passed %d", c.Key[0], ended, ts)
		}
		late, wide = max(late, c.CommitTS-ended), max(wide, c.CommitTS-c.CommitTSMin)
	}
	t.Logf("at most %d µs late, bounds at most %d µs wide", late, wide)
	last := r.sink.progress[len(r.sink.progress)-1]
	if last.ClockError <= 0 || last.ClockError > 1e6 || last.ClockOffset < -last.ClockError || last.ClockOffset > last.ClockError {
		t.Errorf("one clock is said to be off by %d ± %d µs", last.ClockOffset, last.ClockError)
	}
}

// I18: "idle partitions advance by heartbeat": without any change, and with a
// transaction open that has written, the frontier follows the clock.
func TestI18_IdleFrontierFollowsTheClock(t *testing.T) {
	d := newDB(t, createOrders)
	r := first(t, d.config(orderEntity))
	follows := func(what string) {
		t.Helper()
		now := schemas.Micros(get[int64](d, "select (extract(epoch from clock_timestamp()) * 1000000)::bigint"))
		r.sink.await(t, what, func() bool {
			n := len(r.sink.progress)
			return n > 0 && r.sink.progress[n-1].TS > now
		})
	}
	follows("the frontier of an idle database")
	other := d.connect()
	if _, err := other.PgConn().Exec(t.Context(), "begin; insert into orders values (1); insert into orders values (2)").ReadAll(); err != nil {
		t.Fatal(err)
	}
	follows("the frontier beside an open transaction")
	d.exec("create table more (x text); insert into more select repeat('x', 1000) from generate_series(1, 3000)")
	follows("the frontier beside other tables")
	if len(r.sink.changes) != 0 {
		t.Errorf("%d changes", len(r.sink.changes))
	}
}

// A progress at least every 200 ms when nothing happens is what the runner
// relies on; its times rise while the source is there.
func TestProgressWhenIdle(t *testing.T) {
	d := newDB(t, createOrders)
	cfg := d.config(orderEntity)
	s, start := openFirst(t, cfg)
	began := time.Now()
	r := capturing(t, s, start, newSink())
	r.sink.await(t, "ten progress", func() bool { return len(r.sink.progress) >= 10 })
	r.stop()
	took := time.Since(began)
	p := r.sink.progress
	if p[0].Pos != posText(lsnOf(t, start.Resume)-1) || p[0].Epoch != 1 || p[0].Source != "pg-test" || p[0].Side != schemas.Legacy {
		t.Errorf("first progress %+v after a start at %s", p[0], start.Resume)
	}
	// Twenty a second at most: each of them is written to every partition.
	if most := int(took/(50*time.Millisecond)) + 2; len(p) > most {
		t.Errorf("%d in %s", len(p), took)
	}
}
