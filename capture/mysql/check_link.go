package mysql

import (
	"context"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/mydsn"
	"github.com/trueup-io/trueup/schemas"
)

// checkTLS says whether the connection can be read or taken over on its way.
func (s *Source) checkTLS(ctx context.Context) capture.Finding {
	f := capture.Finding{Severity: capture.OK, Subject: "tls"}
	var name, version string
	if err := s.db.QueryRowContext(ctx, "show session status like 'ssl_version'").Scan(&name, &version); err != nil {
		return capture.Finding{Severity: capture.Fail, Subject: f.Subject, Detail: err.Error(), Remedy: "make sure that the server answers"}
	}
	how := "not encrypted"
	if version != "" {
		how = version
	}
	switch {
	case mydsn.Local(s.dsn):
		f.Detail = how + ", on this machine"
	case mydsn.Verified(s.dsn) && version != "":
		f.Detail = how + ", and the server is the one named"
	default:
		f.Severity = capture.Warn
		f.Detail = fmt.Sprintf("%s, and the server's certificate is not verified: somebody on the way to %s can read every change, or be taken for the server", how, s.dsn.Addr)
		f.Remedy = "leave tls out of the DSN, or say tls=true, and name with ssl-ca the authority that signed the server's certificate"
	}
	return f
}

const (
	clockSamples = 5
	// clockWarn is from when on a difference of the clocks is worth a word: it is
	// corrected for, but something is not as it should be.
	clockWarn = schemas.Micros(time.Second / time.Microsecond)
)

// checkClock measures how far the server's clock is from ours. Between asking
// and being answered the server's clock stood at what it says.
func (s *Source) checkClock(ctx context.Context) capture.Finding {
	f := capture.Finding{Severity: capture.OK, Subject: "clock"}
	var least, most schemas.Micros // the offset is between them
	for i := range clockSamples {
		asked := schemas.MicrosOf(s.cfg.Clock())
		var text string
		err := s.db.QueryRowContext(ctx, "select unix_timestamp(now(6))").Scan(&text)
		answered := schemas.MicrosOf(s.cfg.Clock())
		var at schemas.Micros
		if err == nil {
			at, err = parseClock(text)
		}
		if err != nil {
			return capture.Finding{Severity: capture.Fail, Subject: f.Subject, Detail: fmt.Sprintf("not measured: %v", err), Remedy: "make sure that the server answers"}
		}
		if i == 0 {
			least, most = at-answered, at-asked
		}
		least, most = max(least, at-answered), min(most, at-asked)
	}
	middle, bound := (least+most)/2, max((most-least)/2, 0)
	f.Detail = fmt.Sprintf("the server's is %s ours, ± %s", ahead(middle), bound.Duration().Round(time.Microsecond))
	if middle-bound >= clockWarn || middle+bound <= -clockWarn {
		f.Severity = capture.Warn
		f.Detail += ": ages and lags are corrected for it, and tell other tools nothing"
		f.Remedy = "let both machines follow the same time servers (chronyd, ntpd)"
	}
	return f
}

func ahead(m schemas.Micros) string {
	if m < 0 {
		return (-m).Duration().String() + " behind"
	}
	return m.Duration().String() + " ahead of"
}
