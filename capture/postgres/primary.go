package postgres

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/internal/pgdsn"
)

// lookWait bounds how long servers are waited for when several are looked at.
const lookWait = 5 * time.Second

// node is one server that the DSN names, as it was found.
type node struct {
	address string
	err     error // it does not answer; the rest is empty

	SystemID string `json:"system_id"`
	Timeline int32  `json:"timeline"` // of a standby: the latest that it knows to have begun
	Standby  bool   `json:"standby"`
}

// nodeSQL asks for what says which history a server is on, in recovery too.
const nodeSQL = `select s.system_identifier::text as system_id, pg_is_in_recovery() as standby,
	case when pg_is_in_recovery() then greatest(c.timeline_id, r.min_recovery_end_timeline)
		else ('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int end as timeline
	from pg_control_system() s, pg_control_checkpoint() c, pg_control_recovery() r`

// primary returns the index of the server to capture from. With one server in
// the DSN that is it, whatever it turns out to be. Among several it is the
// primary of the latest timeline: a primary that was failed over from may be
// there still, and what it writes never happened for the others.
func (c *Config) primary(ctx context.Context) (int, error) {
	hosts, err := c.hosts(false)
	if err != nil || len(hosts) == 1 {
		return 0, err
	}
	return chosen(c.look(ctx, hosts))
}

// look asks every server, at the same time.
func (c *Config) look(ctx context.Context, hosts []*pgconn.Config) []node {
	ctx, cancel := context.WithTimeout(ctx, lookWait)
	defer cancel()
	nodes := make([]node, len(hosts))
	var asking sync.WaitGroup
	for i, host := range hosts {
		asking.Go(func() { nodes[i] = c.ask(ctx, host) })
	}
	asking.Wait()
	return nodes
}

func (c *Config) ask(ctx context.Context, host *pgconn.Config) node {
	conn, err := pgconn.ConnectConfig(ctx, host)
	if err != nil {
		return node{address: pgdsn.Address(host), err: c.refused(err)}
	}
	defer hangUp(conn)
	n, err := one[node](ctx, conn, nodeSQL)
	n.address, n.err = pgdsn.Address(host), err
	return n
}

// chosen is the index of the primary of the latest timeline among nodes.
func chosen(nodes []node) (int, error) {
	at, latest := -1, -1
	var seen []string
	for i := range nodes {
		n := &nodes[i]
		seen = append(seen, n.String())
		switch {
		case n.err != nil:
			continue
		case latest >= 0 && nodes[latest].SystemID != n.SystemID:
			return 0, fmt.Errorf("the DSN names servers of two clusters: %s has system identifier %s, %s has %s; name those of one",
				nodes[latest].address, nodes[latest].SystemID, n.address, n.SystemID)
		case latest < 0 || n.Timeline > nodes[latest].Timeline:
			latest = i
		}
		switch {
		case n.Standby, at >= 0 && n.Timeline < nodes[at].Timeline:
		case at >= 0 && n.Timeline == nodes[at].Timeline:
			return 0, fmt.Errorf("two servers are primaries of timeline %d: %s and %s; find out which one applications write to, and name it alone in the DSN",
				n.Timeline, nodes[at].address, n.address)
		default:
			at = i
		}
	}
	switch {
	case at < 0:
		return 0, fmt.Errorf("no server of the DSN is a primary: %s", strings.Join(seen, "; "))
	case nodes[at].Timeline < nodes[latest].Timeline:
		return 0, fmt.Errorf("%s is the primary of timeline %d only, and %s is on timeline %d: it was failed over from, and what it writes happened nowhere else; stop it, or name the new primary in the DSN",
			nodes[at].address, nodes[at].Timeline, nodes[latest].address, nodes[latest].Timeline)
	}
	return at, nil
}

func (n *node) String() string {
	switch {
	case n.err != nil:
		return fmt.Sprintf("%s: %v", n.address, n.err)
	case n.Standby:
		return n.address + " is a standby"
	}
	return fmt.Sprintf("%s is the primary of timeline %d", n.address, n.Timeline)
}

// sessionAttrs returns the target_session_attrs of a DSN where they ask for
// what is no primary, else "".
func sessionAttrs(dsn string) string {
	for _, bad := range []string{"standby", "read-only", "prefer-standby"} {
		if strings.Contains(strings.ReplaceAll(strings.ReplaceAll(dsn, " ", ""), "'", ""), "target_session_attrs="+bad) {
			return bad
		}
	}
	return ""
}
