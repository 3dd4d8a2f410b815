package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pglogrepl"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	// defaultSilence is how long nothing may come from a server that is asked for
	// an answer several times in it, before the connection counts as dead.
	defaultSilence = 60 * time.Second
	// sendWait bounds how long a status may take to leave: the server reads
	// them even while it cannot send.
	sendWait = 20 * time.Second
)

// stream is a replication connection that streams. One goroutine receives,
// one confirms.
type stream struct {
	conn     *pgconn.PgConn
	received *bufio.Reader // between the socket and conn
	silence  time.Duration

	reply chan struct{} // of capacity 1: the server wants a status
	ping  chan struct{} // of capacity 1: we want to know how far the server is

	mu      sync.Mutex
	stopped bool // under mu: nobody waits for messages any more
}

// startStream asks the server to stream from a position: large transactions
// before they end, or whole.
func startStream(ctx context.Context, l *link, c *Config, from lsn, large bool) (*stream, error) {
	version := []string{"proto_version '1'"}
	if large {
		version = []string{"proto_version '2'", "streaming 'on'"}
	}
	err := pglogrepl.StartReplication(ctx, l.stream, c.Slot, from, pglogrepl.StartReplicationOptions{
		Mode:       pglogrepl.LogicalReplication,
		PluginArgs: append(version, "messages 'true'", "publication_names "+literal(identifier(c.Publication))),
	})
	if err != nil {
		return nil, fmt.Errorf("stream from %s: %w", from, err)
	}
	return &stream{conn: l.stream, received: l.received, silence: c.silence, reply: make(chan struct{}, 1), ping: make(chan struct{}, 1)}, nil
}

// errStreamEnded says that the server ended the stream in good order: it is
// shutting down.
var errStreamEnded = errors.New("the server ended the stream")

// receive reads messages into q until ctx is done or the connection fails.
// A full queue makes it wait, never the confirmations.
func (s *stream) receive(ctx context.Context, q *queue) error {
	defer context.AfterFunc(ctx, s.interrupt)()
	frontend := s.conn.Frontend()
	var b batch
	var pace pace
	for {
		drained := frontend.ReadBufferLen() == 0 && s.received.Buffered() == 0
		if b.bytes >= batchBytes || drained {
			if n := len(b.messages); n > 0 {
				b.received = time.Now()
				pace.count(n, b.received)
				if err := q.put(ctx, b); err != nil {
					return err
				}
				b = batch{texts: b.texts, messages: make([]message, 0, min(n, batchMessages))}
			}
			s.extend()
			if drained {
				pace.gather(ctx)
			}
		}
		m, err := frontend.Receive()
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("receive: %w", err)
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			if err := s.copyData(m.Data, &b); err != nil {
				return err
			}
		case *pgproto3.ErrorResponse:
			return fmt.Errorf("stream: %w", explain(pgconn.ErrorResponseToPgError(m)))
		case *pgproto3.CopyDone, *pgproto3.CommandComplete:
			return errStreamEnded
		}
	}
}

// copyData takes a message of the streaming protocol apart.
func (s *stream) copyData(data []byte, b *batch) error {
	c := cursor{rest: b.texts.keep(data)}
	var m message
	switch kind := c.u8(); kind {
	case pglogrepl.XLogDataByteID:
		at := c.u64() // position of the message, which for a row says nothing about its transaction
		if zooZ2 {
			m.end = lsn(at)
		}
		c.u64()
		if t := c.u64(); t != 0 {
			m.sent = micros(t)
		}
		m.body = c.rest
	case pglogrepl.PrimaryKeepaliveMessageByteID:
		m.end = lsn(c.u64())
		m.sent = c.micros()
		if c.u8() != 0 {
			signal(s.reply)
		}
	default:
		c.fail("a streaming message of kind %q", kind)
	}
	b.messages = append(b.messages, m)
	b.bytes += len(m.body) + messageBytes
	return c.err
}

// extend allows the server to be silent for some time from now on.
func (s *stream) extend() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.conn.Conn().SetReadDeadline(time.Now().Add(s.silence))
	}
}

// interrupt ends receiving; the connection stays whole.
func (s *stream) interrupt() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.stopped {
		s.stopped = true
		s.conn.Conn().SetReadDeadline(time.Unix(1, 0))
	}
}

// status tells the server how far we are: written is what was received, and
// only flushed, which is never 0, lets it forget its log.
func (s *stream) status(written, flushed lsn, answer bool) error {
	s.conn.Conn().SetWriteDeadline(time.Now().Add(sendWait))
	err := pglogrepl.SendStandbyStatusUpdate(context.Background(), s.conn, pglogrepl.StandbyStatusUpdate{
		WALWritePosition: max(written, flushed), WALFlushPosition: flushed, WALApplyPosition: flushed, ReplyRequested: answer})
	if err != nil {
		return fmt.Errorf("send status: %w", err)
	}
	return nil
}

// farewell tells the server how far we are for the last time, and waits until
// it has read that.
func (s *stream) farewell(written, flushed lsn) error {
	s.mu.Lock()
	s.stopped = true // an interruption that comes late changes nothing
	s.mu.Unlock()
	if err := s.status(written, flushed, false); err != nil {
		return err
	}
	s.conn.Conn().SetDeadline(time.Now().Add(closeWait))
	if _, err := pglogrepl.SendStandbyCopyDone(context.Background(), s.conn); err != nil {
		return fmt.Errorf("end stream: %w", err)
	}
	return nil
}
