package stream

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// brokerLogger hears what the embedded broker says of itself. kfake goes on after it
// could not write something, and says so only here; that ends the broker instead.
// The texts are those of the pinned version: TestEmbedded_FailedWriteStops fails if
// they change.
type brokerLogger struct {
	to   *slog.Logger
	fail func(error)
}

// fatal are the beginnings of messages about something that was not written, or that
// could not be read back.
var fatal = []string{
	"persist ",
	"endTx: failed to persist",
	"rebuildSegments ",
	"compact ",
	"partition %s-%d segment %d: ",
	"partition %s-%d: stat active segment",
	"partition %s-%d: malformed control batch",
	"partition %s-%d: empty control batch",
}

// Logf passes a line on, and stops the broker if it is about lost data.
func (l *brokerLogger) Logf(level kfake.LogLevel, format string, args ...any) {
	if level == kfake.LogLevelWarn || level == kfake.LogLevelError {
		for _, beginning := range fatal {
			if strings.HasPrefix(format, beginning) {
				l.fail(fmt.Errorf(format, args...))
				return
			}
		}
	}
	if l.to.Enabled(context.Background(), slog.LevelDebug) {
		l.to.Debug("embedded broker", "said", fmt.Sprintf(format, args...))
	}
}
