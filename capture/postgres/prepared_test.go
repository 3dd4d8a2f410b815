package postgres

import (
	"fmt"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

// I6: "no event of an uncommitted/aborted txn is published … prepared txns
// (2PC)": what is prepared comes with its second commit and never without one,
// whether it was sent while it was open or not, and whoever was away meanwhile.
func TestI6_PreparedTransactions(t *testing.T) {
	t.Parallel()
	server, err := servers.StartPostgres(t.Context(), servers.PostgresOptions{Dir: t.TempDir(), Settings: map[string]string{"max_prepared_transactions": "10"}})
	servertest.Check(t, err)
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	p := &preparedTxns{t: t, server: server, d: openDB(t, server.DSN, createOrders)}
	for suffix, set := range map[string]func(*Config){
		"_parts": func(*Config) {}, "_disk": func(c *Config) { c.SpillBytes = 1000 }, "_whole": func(c *Config) { c.Streaming = StreamingOff }} {
		cfg := p.d.streamingConfig(orderEntity, suffix)
		set(&cfg)
		p.captures = append(p.captures, first(t, cfg))
	}

	p.prepare("at once", wide(1000))
	p.d.exec("commit prepared 'at once'")
	p.only("at once", 200)
	p.prepare("never", wide(2000))
	p.d.exec("rollback prepared 'never'")
	p.prepare("large", fmt.Sprintf(sayTag, "large"), wide(3000), "savepoint a", wide(4000), "rollback to a", wide(5000))
	p.prepare("large, never", wide(6000))
	p.prepare("small", "insert into orders values (1, 'small')")
	p.prepare("small, never", "insert into orders values (2, 'small')")
	for _, r := range p.captures {
		if r.source.cfg.Streaming != StreamingOff {
			until(t, "all that is large, before its end", func() bool { return r.source.Stats().Streamed == 4 })
		}
	}
	p.held("while all are there")
	for i := range p.captures {
		p.restart(i)
	}
	p.held("after a restart of ours")
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	p.serverAgain()
	p.held("after the server was killed")
	p.serverAgain()
	p.held("after the server was stopped")
	p.d.exec("rollback prepared 'large, never'")
	p.d.exec("rollback prepared 'small, never'")
	p.held("after two were rolled back")
	p.d.exec("commit prepared 'small'")
	p.only("small", 1)
	p.d.exec("commit prepared 'large'")
	for _, c := range p.only("large", 400) {
		if c.TxnRows != 400 || c.Tag.WriteID != "large" {
			t.Fatalf("%s: of %d rows, tag %q", said(c), c.TxnRows, c.Tag.WriteID)
		}
	}
	for _, r := range p.captures {
		r.stop()
		noFiles(t, r.source.cfg.SpillDir)
	}
}

// preparedTxns are prepared on a server of their own and read by several
// captures.
type preparedTxns struct {
	t        *testing.T
	server   *servers.Postgres
	d        *db
	captures []*running
	seen     [3]int // changes that each capture has handed over
	beside   int    // rows written by held
}

// prepare leaves a transaction prepared.
func (p *preparedTxns) prepare(name string, statements ...string) {
	p.t.Helper()
	s := session{p.t, p.d.conn}
	s.do("begin")
	s.do(statements...)
	s.do("prepare transaction " + literal(name))
}

// held looks that a row that is written now comes, and nothing else.
func (p *preparedTxns) held(when string) {
	p.t.Helper()
	p.beside++
	p.d.exec("insert into orders values ($1, 'beside')", 100_000+p.beside)
	p.only(when, 1)
}

// only returns what has come since the last time, of which every capture has
// the same.
func (p *preparedTxns) only(what string, rows int) (got []schemas.Change) {
	p.t.Helper()
	var same string
	for i, r := range p.captures {
		got = r.caughtUp(p.d)[p.seen[i]:]
		var lines []string
		for _, c := range got {
			lines = append(lines, fmt.Sprintf("%s %s %s %s of %d", c.Pos, c.Txn, said(c), c.Tag.WriteID, c.TxnRows))
		}
		switch all := strings.Join(lines, "\n"); {
		case len(got) != rows:
			p.t.Fatalf("%s: %s has %d changes, want %d:\n%.2000s", what, r.source.cfg.Slot, len(got), rows, all)
		case i == 0:
			same = all
		case all != same:
			p.t.Fatalf("%s: %s has other changes than %s", what, r.source.cfg.Slot, p.captures[0].source.cfg.Slot)
		}
	}
	for i := range p.seen {
		p.seen[i] += rows
	}
	return got
}

// restart stops a capture and lets another one go on where it was. What was
// sent before that position, the server holds back until its commit.
func (p *preparedTxns) restart(i int) {
	p.t.Helper()
	r := p.captures[i]
	r.stop()
	noFiles(p.t, r.source.cfg.SpillDir)
	start := r.start
	start.Resume, _ = r.sink.ack()
	p.captures[i] = capturing(p.t, New(r.source.cfg), start, newSink())
	p.seen[i] = 0
}

// serverAgain starts the server, again if it runs.
func (p *preparedTxns) serverAgain() {
	p.t.Helper()
	connections := make([]int64, len(p.captures))
	for i, r := range p.captures {
		connections[i] = r.source.Stats().Connections
	}
	if err := p.server.Restart(p.t.Context()); err != nil {
		p.t.Fatal(err)
	}
	p.d = &db{t: p.t, dsn: p.server.DSN}
	p.d.conn = p.d.connect()
	for i, r := range p.captures {
		until(p.t, "another connection", func() bool { return r.source.Stats().Connections > connections[i] })
	}
}
