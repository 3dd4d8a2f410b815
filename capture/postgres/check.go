package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/schemas"
)

// Check looks at everything that a capture with this configuration needs, and
// changes nothing. Findings with severity capture.Fail keep it from starting
// or from being right.
func Check(ctx context.Context, cfg Config) []capture.Finding {
	k := &check{cfg: cfg.withDefaults()}
	if err := cfg.Validate(); err != nil {
		k.fail("configuration", err.Error(), "correct migration.yaml")
		return k.findings
	}
	var err error
	if k.at, err = k.cfg.primary(ctx); err != nil {
		k.fail("connection", err.Error(), k.entry(err))
		return k.findings
	}
	conn, err := k.cfg.connectTo(ctx, k.at)
	if err != nil {
		k.fail("connection", err.Error(), k.entry(err))
		return k.findings
	}
	defer hangUp(conn)
	server, err := readServer(ctx, conn)
	if err != nil {
		k.fail("connection", err.Error(), "let the role read pg_settings, pg_roles and pg_replication_slots, as everybody may by default")
		return k.findings
	}
	k.ok("connection", fmt.Sprintf("PostgreSQL %d, database %s, role %s", server.Version/10000, server.Database, server.User))
	k.encrypted(ctx, conn)
	k.server(server)
	if server.Standby {
		return k.findings
	}
	k.settings(ctx, conn, server)
	k.functions(ctx, conn, server.User)
	k.clock(ctx, conn)
	k.replication(ctx)
	k.slot(ctx, conn, server)
	k.leftovers(ctx, conn)
	k.failover(ctx, conn, server)
	k.tables(ctx, conn, server)
	return k.findings
}

// entry says what lets us in, by the server's reason for not doing so.
func (k *check) entry(err error) string {
	var refused *pgconn.PgError
	hosts, bad := k.cfg.hosts(false)
	if bad != nil || !errors.As(err, &refused) {
		return "correct the DSN, or start the server and let it listen where the DSN leads to"
	}
	user, database := identifier(hosts[0].User), identifier(hosts[0].Database)
	switch {
	case refused.Code == "42501": // insufficient_privilege
		return fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s", database, user)
	case refused.Code == "28P01": // invalid_password
		return "correct the password in the DSN"
	case refused.Code == "28000" && strings.Contains(refused.Message, "log in"): // invalid_authorization_specification
		return fmt.Sprintf("ALTER ROLE %s LOGIN", user)
	case refused.Code == "3D000": // invalid_catalog_name
		return "correct the database in the DSN"
	}
	return "correct the DSN, or let this host and role in by a line for this database in pg_hba.conf"
}

// again is the remedy of what could not be looked at.
const again = "mend what the server says, or let the role read the catalog as everybody may by default; then check again"

// check collects findings. Only the goroutine of Check uses it.
type check struct {
	cfg      Config
	at       int // which of the DSN's servers is looked at
	findings []capture.Finding
}

func (k *check) add(severity, subject, detail, remedy string) {
	k.findings = append(k.findings, capture.Finding{Severity: severity, Subject: subject, Detail: detail, Remedy: remedy})
}

func (k *check) ok(subject, detail string)           { k.add(capture.OK, subject, detail, "") }
func (k *check) warn(subject, detail, remedy string) { k.add(capture.Warn, subject, detail, remedy) }
func (k *check) fail(subject, detail, remedy string) { k.add(capture.Fail, subject, detail, remedy) }
func (k *check) failed(p *problem)                   { k.fail(p.subject, p.detail, p.remedy) }

// server looks at settings and rights.
func (k *check) server(s server) {
	if s.Version < minVersion {
		k.fail("version", fmt.Sprintf("PostgreSQL %d does not pass tags on", s.Version/10000), "use PostgreSQL 14 or later")
	}
	if s.Standby {
		k.failed(errStandby)
	}
	if s.WALLevel == "logical" {
		k.ok("wal_level", "logical")
	} else {
		k.fail("wal_level", s.WALLevel+": the log does not carry row changes", "ALTER SYSTEM SET wal_level = logical; then restart the server")
	}
	if s.Replicates {
		k.ok("role "+s.User, "may replicate: it can read every change of the database, whatever its grants")
	} else {
		k.fail("role "+s.User, "may not replicate", fmt.Sprintf("ALTER ROLE %s REPLICATION", identifier(s.User)))
	}
	if s.SendersMax-s.Senders < 1 {
		k.fail("max_wal_senders", fmt.Sprintf("all %d are in use", s.SendersMax), "ALTER SYSTEM SET max_wal_senders to more; then restart the server")
	} else {
		k.ok("max_wal_senders", fmt.Sprintf("%d of %d are free", s.SendersMax-s.Senders, s.SendersMax))
	}
	if s.KeepMB < 0 {
		k.warn("max_slot_wal_keep_size", "no limit: while capture stands still the server keeps all log, until its disk is full",
			"watch the disk, or ALTER SYSTEM SET max_slot_wal_keep_size to what the disk can bear: beyond it the slot is lost, which is a gap")
	} else {
		k.ok("max_slot_wal_keep_size", fmt.Sprintf("%d MB: if capture falls further behind, the slot is lost, which is a gap", s.KeepMB))
	}
}

// functions tries what the sampler needs.
func (k *check) functions(ctx context.Context, conn *pgconn.PgConn, user string) {
	for _, sql := range []string{sampleSQL, whoSQL, nodeSQL} {
		if _, err := conn.Exec(ctx, sql).ReadAll(); err != nil {
			k.fail("clock and log position", err.Error(),
				"GRANT EXECUTE ON FUNCTION pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn(), pg_control_system(), pg_control_checkpoint(), pg_control_recovery(), pg_walfile_name(pg_lsn) TO "+identifier(user))
			return
		}
	}
	k.ok("clock and log position", "can be read")
}

// replication tries a logical replication connection, and one that could copy
// the whole cluster, which nobody needs.
func (k *check) replication(ctx context.Context) {
	conn, _, err := k.cfg.connectStream(ctx, k.at)
	if err != nil {
		k.fail("replication connection", err.Error(), "let the role in with a line for this database in pg_hba.conf")
		return
	}
	hangUp(conn)
	k.ok("replication connection", "accepted for this database")
	hosts, err := k.cfg.hosts(true)
	if err != nil {
		return
	}
	hosts[k.at].RuntimeParams["replication"] = "true"
	if conn, err = pgconn.ConnectConfig(ctx, hosts[k.at]); err == nil {
		hangUp(conn)
		k.warn("physical replication", "the role could copy the whole cluster from here", `remove the "replication" line for it from pg_hba.conf`)
		return
	}
	k.ok("physical replication", "refused")
}

// slot looks at the slot, or whether there is room for it.
func (k *check) slot(ctx context.Context, conn *pgconn.PgConn, s server) {
	subject := "slot " + k.cfg.Slot
	p, exists, err := readSlot(ctx, conn, k.cfg.Slot)
	switch {
	case err != nil:
		k.fail(subject, err.Error(), again)
	case !exists && s.SlotsMax-s.Slots < 1:
		k.fail("max_replication_slots", fmt.Sprintf("all %d are in use", s.SlotsMax), "drop one that nobody needs, or ALTER SYSTEM SET max_replication_slots to more; then restart the server")
	case !exists:
		k.ok(subject, fmt.Sprintf("not there yet; %d of %d are free", s.SlotsMax-s.Slots, s.SlotsMax))
	case p.Plugin != "pgoutput" || p.Database != s.Database:
		k.fail(subject, fmt.Sprintf("is of database %s with plugin %s", p.Database, p.Plugin), "name another slot")
	case p.WALStatus == "lost" || p.Conflicting || p.Invalidation != "":
		k.fail(subject, "is lost: what follows its position is no longer in the log",
			fmt.Sprintf("find out why; then trueup run --new-epoch %s, which drops it, or SELECT pg_drop_replication_slot(%s)", k.cfg.Side, literal(k.cfg.Slot)))
	case p.WALStatus != "reserved":
		k.warn(subject, fmt.Sprintf("wal_status %s: the server keeps more log for it than it wants to", p.WALStatus), "let capture catch up")
	default:
		k.ok(subject, "is there, confirmed to "+p.Confirmed)
	}
}

// tables looks at the mapped tables and the publication.
func (k *check) tables(ctx context.Context, conn *pgconn.PgConn, s server) {
	subject := "publication " + k.cfg.Publication
	p, exists, err := readPublication(ctx, conn, k.cfg.Publication)
	if err != nil {
		k.fail(subject, err.Error(), again)
		return
	}
	names := k.cfg.tables()
	tables, err := readTables(ctx, conn, k.cfg.Publication, names)
	if err != nil {
		k.fail("tables", err.Error(), again)
		return
	}
	if exists {
		k.ok(subject, "is there")
	} else {
		k.creation(subject, tables, s)
	}
	if exists {
		k.unmapped(ctx, conn, subject, p)
	}
	may, err := readAccess(ctx, conn, tables)
	if err == nil && len(may) != len(tables) {
		err = fmt.Errorf("%d rows for %d tables", len(may), len(tables))
	}
	if err != nil {
		k.fail("tables", fmt.Sprintf("rights on them: %v", err), "let the role read the catalog")
		return
	}
	k.rights(ctx, conn, s, slices.ContainsFunc(may, func(a access) bool { return a.RLS }))
	for i := range tables {
		t := &tables[i]
		e, _ := k.cfg.Rules.EntityOf(k.cfg.Side, names[i].Schema, names[i].Name)
		k.table(t, p, exists, e, func() {
			k.access(t, may[i], s)
			k.order(ctx, conn, t, p)
		})
	}
}

// order says where "trueup baseline" cannot read a table. Its changes can be
// captured all the same.
func (k *check) order(ctx context.Context, conn *pgconn.PgConn, t *table, p publication) {
	indexes, err := query[orderIndex](ctx, conn, fmt.Sprintf(orderSQL, t.OID))
	if err != nil {
		k.fail("table "+t.String(), fmt.Sprintf("its indexes: %v", err), again)
		return
	}
	if _, bad := t.orderedBy(p, indexes, func(orderIndex) bool { return false }); bad != nil {
		k.warn(bad.subject, bad.detail+": \"trueup baseline\" cannot read the rows that it has already", bad.remedy)
	}
}

// unmapped says what the publication sends beside the mapped tables: it is
// decoded and sent, only to be thrown away.
func (k *check) unmapped(ctx context.Context, conn *pgconn.PgConn, subject string, p publication) {
	var mapped []string
	for _, n := range k.cfg.tables() {
		mapped = append(mapped, fmt.Sprintf("(%s, %s)", literal(n.Schema), literal(n.Name)))
	}
	type name struct {
		Text string `json:"text"`
	}
	more, err := query[name](ctx, conn, fmt.Sprintf(`select format('%%I.%%I', schemaname, tablename) as text from pg_publication_tables
		where pubname = %s and (schemaname, tablename) not in (values %s) order by 1`, literal(k.cfg.Publication), strings.Join(mapped, ", ")))
	if err != nil {
		k.fail(subject, err.Error(), "let the role read pg_publication_tables, as everybody may by default")
		return
	}
	if len(more) == 0 {
		return
	}
	first := make([]string, 0, 3)
	for _, n := range more[:min(len(more), cap(first))] {
		first = append(first, n.Text)
	}
	remedy := fmt.Sprintf("ALTER PUBLICATION %s DROP TABLE %s", identifier(k.cfg.Publication), strings.Join(first, ", "))
	if p.All {
		remedy = "before the first start, drop it and create one for the mapped tables; later that would be a gap"
	}
	k.warn(subject, fmt.Sprintf("it publishes %d tables that are not mapped (%s): the server decodes and sends their changes for nothing",
		len(more), strings.Join(first, ", ")), remedy)
}

// creation says whether the first start can create the publication.
func (k *check) creation(subject string, tables []table, s server) {
	var foreign []string
	for i := range tables {
		if !tables[i].Owned {
			foreign = append(foreign, tables[i].String())
		}
	}
	if len(foreign) == 0 && s.CreatesDB {
		k.ok(subject, "not there yet; the first start creates it")
		return
	}
	reason := "the role may not create anything in the database"
	if len(foreign) > 0 {
		reason = "the role does not own " + strings.Join(foreign, ", ")
	}
	k.fail(subject, "not there, and cannot be created: "+reason, createPublicationSQL(k.cfg.Publication, tables))
}

// table looks at a mapped table; access adds what the role may do with it.
func (k *check) table(t *table, p publication, published bool, e *schemas.Entity, access func()) {
	before := len(k.findings)
	defer func() {
		for i := before; i < len(k.findings); i++ {
			k.findings[i].Entity = e.Name
		}
	}()
	if bad := tableProblem(t); bad != nil {
		k.failed(bad)
		return
	}
	if published {
		if bad := publishedProblem(k.cfg.Publication, p, t); bad != nil {
			k.failed(bad)
		}
	}
	for _, bad := range entityProblems(t, p, e, k.cfg.Side) {
		k.failed(bad)
	}
	subject := "table " + t.String()
	if t.Identity != "f" {
		k.warn(subject, "REPLICA IDENTITY is not FULL: long values that an update does not touch are unknown, and no row before a change is seen",
			fullSQL([]string{t.quoted()}))
	} else if part := t.leavesOf("d"); len(part) > 0 {
		k.warn(subject, "REPLICA IDENTITY is not FULL for its partitions, each of which has its own: "+strings.Join(part, ", "), fullSQL(part))
	}
	if t.Kind == "p" {
		k.warn(subject, "it is partitioned: truncating a single partition is not in the stream; neither are the rows that a partition has when it is attached, "+
			"which is a gap, or when it is detached or dropped, which is said; a row before a change does not say which of its columns were NULL",
			"write to it as a whole")
	}
	access()
	if len(k.findings) == before {
		k.ok(subject, fmt.Sprintf("%d columns, REPLICA IDENTITY FULL", len(t.Columns)))
	}
}
