package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/pgdsn"
)

// standbys are what a primary shows of whoever would take over.
type standbys struct {
	Slots    []string `json:"slots"`    // physical ones, which standbys read through
	Required string   `json:"required"` // synchronized_standby_slots
}

const standbysSQL = `select coalesce((select json_agg(slot_name order by slot_name) from pg_replication_slots where slot_type = 'physical' and not temporary), '[]') as slots,
	coalesce(current_setting('synchronized_standby_slots', true), '') as required`

// failover says what a promotion would mean for this side.
func (k *check) failover(ctx context.Context, conn *pgconn.PgConn, s server) {
	hosts, err := k.cfg.hosts(false)
	if err != nil {
		k.fail("failover", err.Error(), "correct the DSN")
		return
	}
	sb, err := one[standbys](ctx, conn, standbysSQL)
	if err != nil {
		k.fail("failover", err.Error(), "let the role read pg_replication_slots, as everybody may by default")
		return
	}
	p, exists, err := readSlot(ctx, conn, k.cfg.Slot)
	if err != nil {
		k.fail("failover", err.Error(), again)
		return
	}
	expected := len(sb.Slots) > 0 || len(hosts) > 1
	before := len(k.findings)
	switch {
	case !expected:
	case s.Version < failoverVersion:
		k.warn("failover", "a promotion is a gap: before PostgreSQL 17 slots do not survive one", "upgrade, or plan a baseline of this side after each promotion")
	default:
		if exists && !p.Failover {
			k.warn("failover", "standbys do not carry the slot over: a promotion is a gap",
				fmt.Sprintf("while capture is stopped, in psql with replication=database in the connection string: ALTER_REPLICATION_SLOT %s (FAILOVER true)", k.cfg.Slot))
		}
		if sb.Required == "" && len(sb.Slots) > 0 {
			k.warn("synchronized_standby_slots", "empty: capture can be ahead of every standby, and a promotion is a gap if it is",
				fmt.Sprintf("ALTER SYSTEM SET synchronized_standby_slots = %s; SELECT pg_reload_conf(); capture then waits for these standbys, so name only ones that are kept running",
					literal(strings.Join(sb.Slots, ", "))))
		}
	}
	for i, host := range hosts {
		if i != k.at {
			k.other(ctx, i, pgdsn.Address(host), s, p, exists)
		}
	}
	switch {
	case slices.ContainsFunc(k.findings[before:], func(f capture.Finding) bool { return f.Severity != capture.OK }):
	case expected:
		k.ok("failover", "standbys can take over with the slot")
	default:
		k.ok("failover", "no standby is to be seen")
	}
}

// carrier is what a standby needs to carry slots over.
type carrier struct {
	Syncs    string `json:"syncs"`
	Feedback string `json:"feedback"`
	Upstream string `json:"upstream"`
	Standby  bool   `json:"standby"`
}

const carrierSQL = `select coalesce(current_setting('sync_replication_slots', true), 'off') as syncs, current_setting('hot_standby_feedback') as feedback,
	current_setting('primary_slot_name') as upstream, pg_is_in_recovery() as standby`

// other looks at another server of the DSN, which may have to take over.
func (k *check) other(ctx context.Context, at int, address string, s server, ours slot, exists bool) {
	subject := "server " + address
	conn, err := k.cfg.connectTo(ctx, at)
	if err != nil {
		k.warn(subject, "it does not answer: "+err.Error(), "start it, or leave it out of the DSN")
		return
	}
	defer hangUp(conn)
	c, err := one[carrier](ctx, conn, carrierSQL)
	switch {
	case err != nil:
		k.warn(subject, err.Error(), again)
		return
	case !c.Standby:
		k.warn(subject, "it is a primary too, of an older timeline: what is written to it happens nowhere else", "stop it, and make it a standby of the new primary")
		return
	case s.Version < failoverVersion:
		return // said once for all
	}
	before := len(k.findings)
	for _, setting := range []struct {
		bad                   bool
		name, without, remedy string
	}{
		{c.Syncs != "on", "sync_replication_slots", "the slot does not come over", "on"},
		{c.Feedback != "on", "hot_standby_feedback", "the slot cannot be carried over: its catalog rows may be vacuumed away", "on"},
		{c.Upstream == "", "primary_slot_name", "the slot cannot be carried over: the standby has to read through a slot", "a physical slot of the primary"},
	} {
		if setting.bad {
			k.warn(subject, fmt.Sprintf("%s is not set: %s, and its promotion is a gap", setting.name, setting.without),
				fmt.Sprintf("on this standby: ALTER SYSTEM SET %s = %s; SELECT pg_reload_conf()", setting.name, literal(setting.remedy)))
		}
	}
	if len(k.findings) > before || !exists || !ours.Failover {
		return
	}
	p, there, err := readSlot(ctx, conn, k.cfg.Slot)
	switch {
	case err != nil:
		k.warn(subject, err.Error(), again)
	case !there || !p.Synced || p.Temporary || p.Invalidation != "":
		k.warn(subject, "the slot is not carried over yet: a promotion now is a gap",
			"wait until SELECT synced AND NOT temporary FROM pg_replication_slots WHERE slot_name = "+literal(k.cfg.Slot)+
				" is true there; if it stays so, look at the standby's log: primary_conninfo has to name a database")
	default:
		k.ok(subject, "a standby that carries the slot over, confirmed to "+p.Confirmed)
	}
}
