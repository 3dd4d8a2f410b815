package mysql

import (
	"context"
	"net"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
)

// link is a replication connection that breaks when it says nothing for too long.
// The library can see to that, too, but twice for each event, which was a third
// of what reading small transactions cost. It is read by one goroutine.
type link struct {
	net.Conn
	silence  time.Duration // how long it may say nothing: at least nine tenths of that, at most all of it
	clock    func() time.Time
	deadline time.Time // that is set
	received time.Time // capture's clock, when it gave the latest bytes: what is in them had been committed
}

// Read implements net.Conn.
func (l *link) Read(b []byte) (n int, err error) {
	if now := time.Now(); l.deadline.Sub(now) < l.silence*9/10 {
		l.deadline = now.Add(l.silence)
		if err := l.SetReadDeadline(l.deadline); err != nil {
			return 0, err
		}
	}
	n, err = l.Conn.Read(b)
	l.received = l.clock()
	return n, err
}

// dialer connects until ctx is done, and then closes what it connected. So the
// library's Close finds nothing that it would wait for; the connection that it
// wants to make then, to kill the old one, is refused.
func (r *reader) dialer(ctx context.Context, silence time.Duration, clock func() time.Time) client.Dialer {
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 10 * time.Second}
	return func(_ context.Context, network, address string) (net.Conn, error) {
		conn, err := d.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { conn.Close() }) // an error would come too late for anybody
		r.link = &link{Conn: conn, silence: silence, clock: clock}
		return r.link, nil
	}
}
