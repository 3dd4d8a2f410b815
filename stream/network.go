package stream

import (
	"context"
	"net"
	"sync"
)

// network is the embedded broker's side of its connections: it can hang up on all of
// them at once, and wait until the broker let go of them.
type network struct {
	mu        sync.Mutex
	listeners []net.Listener
	conns     map[*brokerConn]struct{}
	down      bool
	open      sync.WaitGroup // connections that the broker has not closed

	private chan net.Conn // of who prepares the broker, until it is ready for others
	ready   chan struct{}
	once    sync.Once
}

func newNetwork() *network {
	return &network{conns: make(map[*brokerConn]struct{}), private: make(chan net.Conn), ready: make(chan struct{})}
}

// dialPrivately connects to the broker before others can.
func (n *network) dialPrivately(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case n.private <- there:
		return here, nil
	case <-n.ready:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// letIn lets others connect; who came before has waited.
func (n *network) letIn() { n.once.Do(func() { close(n.ready) }) }

// listen is net.Listen with the connections kept in sight.
func (n *network) listen(kind, address string) (net.Listener, error) {
	ln, err := net.Listen(kind, address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners = append(n.listeners, ln)
	return &brokerListener{ln, n}, nil
}

// shut refuses new connections and hangs up on all there are.
func (n *network) shut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for _, ln := range n.listeners {
		ln.Close()
	}
	for c := range n.conns {
		c.Conn.Close()
	}
	n.letIn() // to be refused
}

// wait returns when the broker has closed every connection that it got.
func (n *network) wait() { n.open.Wait() }

type brokerListener struct {
	net.Listener
	n *network
}

func (l *brokerListener) next() (net.Conn, error) {
	select {
	case conn := <-l.n.private:
		return conn, nil
	case <-l.n.ready:
		return l.Listener.Accept()
	}
}

// Accept returns the next connection.
func (l *brokerListener) Accept() (net.Conn, error) {
	conn, err := l.next()
	if err != nil {
		return nil, err
	}
	l.n.mu.Lock()
	defer l.n.mu.Unlock()
	if l.n.down {
		conn.Close()
		return nil, net.ErrClosed
	}
	c := &brokerConn{Conn: conn, n: l.n}
	l.n.conns[c] = struct{}{}
	l.n.open.Add(1)
	return c, nil
}

type brokerConn struct {
	net.Conn
	n    *network
	once sync.Once
}

// Close is called by the broker, more than once.
func (c *brokerConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() {
		c.n.mu.Lock()
		delete(c.n.conns, c)
		c.n.mu.Unlock()
		c.n.open.Done()
	})
	return err
}
