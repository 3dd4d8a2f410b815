package mysql

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/faultnet"
)

// troubled is a capture through a network with faults. Its database is written
// to past the network.
type troubled struct {
	*capturing
	network *faultnet.Network
	rounds  int // of the workload, so far
}

func newTroubled(t *testing.T, l *lab) *troubled {
	t.Helper()
	dsn, err := mysql.ParseDSN(l.cfg.DSN)
	if err != nil {
		t.Fatal(err)
	}
	network, err := faultnet.Listen(dsn.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := network.Close(); err != nil {
			t.Error(err)
		}
	})
	dsn.Addr, dsn.Timeout = network.Addr(), 2*time.Second
	l.cfg.DSN, l.cfg.silence = dsn.FormatDSN(), 3*time.Second
	n := &troubled{capturing: l.capture(capture.Start{}), network: network}
	n.until("streaming", func(s Stats) bool { return s.Streaming })
	return n
}

// until waits until the source says so. Nothing signals it.
func (n *troubled) until(what string, holds func(Stats) bool) {
	n.l.t.Helper()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	timeout := time.After(patient)
	for !holds(n.source.Stats()) {
		select {
		case <-look.C:
		case <-n.ended:
			n.l.t.Fatalf("capture ended before %s: %v", what, n.result)
		case <-timeout:
			n.l.t.Fatalf("no %s: %+v", what, n.source.Stats())
		}
	}
}

// write commits a round of transactions.
func (n *troubled) write() {
	n.l.t.Helper()
	base := 100 * n.rounds
	n.rounds++
	insert := fmt.Sprintf("insert into a values (%d, repeat('x', 90), 0)", base)
	for i := 1; i < 40; i++ {
		insert += fmt.Sprintf(", (%d, repeat('x', 90), 0)", base+i)
	}
	n.l.exec(insert)
	n.l.session("begin", fmt.Sprintf("update a set id = id + 50 where id = %d", base), "savepoint s", "delete from a", "rollback to s",
		fmt.Sprintf("insert into b values (%d, 'y', 1)", base), "commit")
}

// rowsPerRound is what a round is captured as.
const rowsPerRound = 40 + 2 + 1

// whole waits until all that was written has come, each change once by its id
// and in order, which the recorder looks after.
func (n *troubled) whole() {
	n.l.t.Helper()
	if got := len(n.settled()); got != rowsPerRound*n.rounds {
		n.l.t.Errorf("%d changes, want %d", got, rowsPerRound*n.rounds)
	}
	n.until("streaming", func(s Stats) bool { return s.Streaming })
}

// awaitBroken waits until the source says that nothing streams, and why.
func (n *troubled) awaitBroken() {
	n.l.t.Helper()
	n.until("word that it does not stream", func(s Stats) bool { return !s.Streaming && s.Broken != "" })
}

// unbroken runs f, in which no connection may be lost.
func (n *troubled) unbroken(f func()) {
	n.l.t.Helper()
	was := n.source.Stats().Connections
	f()
	if got := n.source.Stats().Connections; got != was {
		n.l.t.Errorf("%d connections were lost", got-was)
	}
}

// The rest of the fault matrix, "slow/hung store", "asymmetric partition /
// reset / slicing": I2 "every committed row change appears", I3, I4, and I39
// "no fault leaves a silent stall". Each begins and ends with a stream that
// works.
func TestI2_I4_I39_NetworkFaults(t *testing.T) {
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
				n.until("another connection", func(s Stats) bool { return s.Connections > was })
			}
		},
		"half-open": func(n *troubled) { // the server's answers are lost, and nobody says so
			n.network.Set(faultnet.Down, faultnet.Fault{Drop: true})
			n.write()
			n.awaitBroken()
			n.network.Heal()
		},
		"asymmetric": func(n *troubled) { // what we ask is lost; what streams goes on
			n.network.Set(faultnet.Up, faultnet.Fault{Drop: true})
			n.write()
			n.wait("the changes", func(r *recorder) bool { return len(r.got) == rowsPerRound*n.rounds })
			n.network.Heal()
		},
		"hangs and goes on": func(n *troubled) {
			n.network.Set(faultnet.Down, faultnet.Fault{Hold: true})
			n.write()
			n.awaitBroken()
			n.network.Heal()
		},
		"sliced": func(n *troubled) {
			n.unbroken(func() {
				n.network.Set(faultnet.Down, faultnet.Fault{Slice: 3})
				n.write()
				n.whole()
				n.network.Heal()
			})
		},
		"slow": func(n *troubled) {
			n.unbroken(func() {
				n.network.Set(faultnet.Down, faultnet.Fault{Rate: 60_000, Delay: 20 * time.Millisecond})
				n.write()
				n.whole()
				n.network.Heal()
			})
		},
		"ends within a transaction": func(n *troubled) {
			n.network.Set(faultnet.Down, faultnet.Fault{Limit: 2500}) // a round has about 6 kB
			n.write()
			n.awaitBroken()
			if got := len(n.changes()); got%rowsPerRound != 0 {
				n.l.t.Errorf("%d changes: some are of a transaction that was not received whole", got)
			}
			n.network.Heal()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			flavours(t, func(t *testing.T, l *lab) {
				n := newTroubled(t, l)
				n.write()
				n.whole()
				fault(n)
				n.write()
				n.whole()
			})
		})
	}
}

// "Swizzle-clog: set on/off in random order", I38: "after faults heal and
// writes stop: lag 0".
func TestI38_FaultsInRandomOrder(t *testing.T) {
	t.Parallel()
	flavours(t, func(t *testing.T, l *lab) {
		n := newTroubled(t, l)
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
	})
}
