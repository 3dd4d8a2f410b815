package postgres

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/faultnet"
)

// troubled is a capture through a network with faults. Its database is
// written to past the network.
type troubled struct {
	*running
	d       *db
	cfg     Config
	network *faultnet.Network
	rounds  int // of the workload, so far
}

func newTroubled(t *testing.T) *troubled {
	t.Helper()
	d := newDB(t, createOrders)
	cfg, network := d.through(orderEntity)
	cfg.DSN += "&connect_timeout=2&options=-c%20wal_sender_timeout%3D2s"
	cfg.silence = 3 * time.Second
	r := first(t, cfg)
	r.awaitConnections(1)
	return &troubled{running: r, d: d, cfg: cfg, network: network}
}

// write commits a round of transactions.
func (n *troubled) write() {
	n.t.Helper()
	base := 100 * n.rounds
	n.rounds++
	copyRows(n.d, base, base+5)
	n.d.exec(fmt.Sprintf("insert into orders select i, repeat('x', 300) from generate_series(%d, %d) i", base+10, base+49))
	n.d.exec(fmt.Sprintf("begin; update orders set id = id + 40 where id = %d; savepoint a; delete from orders; rollback to a; commit", base+10))
}

// rowsPerRound is what a round is captured as.
const rowsPerRound = 5 + 40 + 2

// whole waits until all that was written has come, each change once by its id
// and in order, which the sink looks after.
func (n *troubled) whole() {
	n.t.Helper()
	if got := len(n.caughtUp(n.d)); got != rowsPerRound*n.rounds {
		n.t.Errorf("%d changes, want %d", got, rowsPerRound*n.rounds)
	}
	until(n.t, "streaming", func() bool { return n.source.Stats().Streaming })
}

// awaitBroken waits until the source says that nothing streams, and why.
func (n *troubled) awaitBroken() {
	n.t.Helper()
	until(n.t, "a source that says that it does not stream", func() bool {
		s := n.source.Stats()
		return !s.Streaming && s.Broken != ""
	})
}

// The rest of the fault matrix, "slow/hung store", "asymmetric partition /
// reset / slicing": I2 "every committed row change appears", I3, I4, and I39
// "no fault leaves a silent stall". Each begins and ends with a stream that
// works.
func TestI2_I4_I39_NetworkFaults(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(n *troubled){
		"cut and mended": func(n *troubled) {
			n.network.Cut()
			n.write()
			n.awaitBroken()
			n.network.Mend()
		},
		"reset by peer": func(n *troubled) {
			for range 3 {
				n.write()
				was := n.source.Stats().Connections
				n.network.Reset()
				n.awaitConnections(was + 1)
			}
		},
		"half-open": func(n *troubled) { // the server's answers are lost, and nobody says so
			n.network.Set(faultnet.Down, faultnet.Fault{Drop: true})
			n.write()
			n.awaitBroken()
			n.network.Heal()
		},
		"asymmetric": func(n *troubled) { // what we say is lost: the server gives us up
			n.network.Set(faultnet.Up, faultnet.Fault{Drop: true})
			n.write()
			n.awaitBroken()
			n.network.Heal()
		},
		"hangs and goes on": func(n *troubled) {
			n.network.Set(faultnet.Down, faultnet.Fault{Hold: true})
			n.write()
			n.awaitBroken()
			n.network.Heal()
		},
		"sliced": func(n *troubled) {
			was := n.source.Stats().Connections
			n.network.Set(faultnet.Down, faultnet.Fault{Slice: 3})
			n.write()
			n.whole()
			if got := n.source.Stats().Connections; got != was {
				n.t.Errorf("%d connections were lost", got-was)
			}
			n.network.Heal()
		},
		"slow": func(n *troubled) {
			was := n.source.Stats().Connections
			n.network.Set(faultnet.Down, faultnet.Fault{Rate: 60_000, Delay: 20 * time.Millisecond})
			n.write()
			n.whole()
			if got := n.source.Stats().Connections; got != was {
				n.t.Errorf("%d connections were lost", got-was)
			}
			n.network.Heal()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newTroubled(t)
			n.write()
			n.whole()
			fault(n)
			n.write()
			n.whole()
		})
	}
}

// "Swizzle-clog: set on/off in random order", I38: "after faults heal and
// writes stop: lag 0".
func TestI38_FaultsInRandomOrder(t *testing.T) {
	t.Parallel()
	n := newTroubled(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	faults := []faultnet.Fault{{}, {Hold: true}, {Drop: true}, {Slice: 1 + rng.IntN(50)}, {Rate: 100_000}, {Limit: 1 + rng.IntN(20_000)}, {Delay: 10 * time.Millisecond}}
	for range 12 {
		n.network.Set(faultnet.Direction(rng.IntN(2)), faults[rng.IntN(len(faults))])
		switch rng.IntN(4) {
		case 0:
			n.network.Reset()
		case 1:
			n.network.Cut()
			n.network.Mend()
		}
		n.write()
	}
	n.network.Heal()
	n.network.Reset() // what lost bytes without a word is found after a while; this is sooner
	n.whole()
}

// Z4, I7: a slot that is made again while the network is down, or dropped under
// a stream, is a gap when the capture is back, and nothing from beyond it is
// handed over.
func TestI7_Z4_SlotGoneWhileAway(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ again, cut bool }{
		"dropped while cut":           {false, true},
		"made again while cut":        {true, true},
		"dropped under the stream":    {false, false},
		"made again under the stream": {true, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newTroubled(t)
			n.write()
			n.whole()
			if c.cut {
				n.network.Cut()
				n.awaitBroken()
			}
			n.drop()
			n.write()
			if c.again {
				n.d.exec("select pg_create_logical_replication_slot($1, 'pgoutput')", n.cfg.Slot)
			}
			n.write()
			n.network.Mend()
			var gap *capture.GapError
			if err := n.failed(); !errors.As(err, &gap) || !strings.Contains(gap.Reason, n.cfg.Slot) {
				t.Errorf("%v", err)
			}
			if got := len(n.sink.fresh); got != rowsPerRound {
				t.Errorf("%d changes, %d came before the gap", got, rowsPerRound)
			}
			if s := n.source.Stats(); s.Streaming || s.Broken == "" {
				t.Errorf("after a gap: %+v", s)
			}
		})
	}
}

// drop ends whoever streams from the slot, and drops it before they are back.
func (n *troubled) drop() {
	n.t.Helper()
	until(n.t, "a dropped slot", func() bool {
		_, err := n.d.conn.Exec(n.t.Context(), `select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = $1 and active_pid is not null`, n.cfg.Slot)
		if err == nil {
			_, err = n.d.conn.Exec(n.t.Context(), "select pg_drop_replication_slot($1)", n.cfg.Slot)
		}
		var pg *pgconn.PgError
		if err != nil && (!errors.As(err, &pg) || pg.Code != "55006") { // in use
			n.t.Fatal(err)
		}
		return err == nil
	})
}
