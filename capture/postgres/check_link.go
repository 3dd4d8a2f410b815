package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/internal/pgdsn"
	"github.com/trueup-io/trueup/schemas"
)

// encryption is what the server says of this connection.
type encryption struct {
	SSL     bool   `json:"ssl"`
	Version string `json:"version"`
}

// encrypted says whether the connection can be read or taken over on its way.
func (k *check) encrypted(ctx context.Context, conn *pgconn.PgConn) {
	hosts, err := k.cfg.hosts(false)
	if err != nil {
		k.fail("tls", err.Error(), "correct the DSN")
		return
	}
	host := hosts[k.at]
	e, err := one[encryption](ctx, conn, "select ssl, coalesce(version, '') as version from pg_stat_ssl where pid = pg_backend_pid()")
	if err != nil {
		k.fail("tls", err.Error(), "let the role read pg_stat_ssl, as everybody may by default")
		return
	}
	how := "not encrypted"
	if e.SSL {
		how = e.Version
	}
	mode := pgdsn.Mode(host)
	switch {
	case pgdsn.Local(host.Host):
		k.ok("tls", how+", on this machine")
	case mode == "verify-full" && e.SSL:
		k.ok("tls", how+", and the server is the one named: sslmode=verify-full")
	default:
		k.warn("tls", fmt.Sprintf("%s: with sslmode=%s somebody on the way to %s can read every change, or be taken for the server", how, mode, host.Host),
			"put sslmode=verify-full into the DSN, and sslrootcert with the authority that signed the server's certificate")
	}
}

const (
	clockSamples = 5
	// clockWarn is from when on a difference of the clocks is worth a word:
	// it is corrected for, but something is not as it should be.
	clockWarn = schemas.Micros(time.Second / time.Microsecond)
)

// clock measures how far the server's clock is from ours.
func (k *check) clock(ctx context.Context, conn *pgconn.PgConn) {
	var o offset
	for range clockSamples {
		sent := k.cfg.Clock()
		results, err := conn.Exec(ctx, sampleSQL).ReadAll()
		received := k.cfg.Clock()
		if err != nil || len(results) != 1 {
			k.fail("clock", fmt.Sprintf("not measured: %v", err), "look at the finding about clock and log position")
			return
		}
		s, err := parseSample(results[0].Rows)
		if err != nil {
			k.fail("clock", fmt.Sprintf("not measured: %v", err), "look at the finding about clock and log position")
			return
		}
		o.add(s.after-schemas.MicrosOf(received), s.before-schemas.MicrosOf(sent), sent, received)
	}
	middle, bound := o.best(k.cfg.Clock())
	says := fmt.Sprintf("the server's is %s ours, ± %s", ahead(middle), bound.Duration().Round(time.Microsecond))
	if middle-bound >= clockWarn || middle+bound <= -clockWarn {
		k.warn("clock", says+": ages and lags are corrected for it, and tell other tools nothing", "let both machines follow the same time servers (chronyd, ntpd)")
		return
	}
	k.ok("clock", says)
}

func ahead(m schemas.Micros) string {
	if m < 0 {
		return (-m).Duration().String() + " behind"
	}
	return m.Duration().String() + " ahead of"
}
