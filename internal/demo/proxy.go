package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// proxy stands between Trueup and a store, so that the store can be held back:
// connections stay open and new ones are taken, but no byte goes through. It is a
// network that hangs, not one that fails.
type proxy struct {
	listener net.Listener
	upstream string

	mu    sync.Mutex
	open  chan struct{}         // closed while bytes may pass; under mu
	conns map[net.Conn]struct{} // both ends of every connection; under mu
	ended bool                  // under mu
}

// listenProxy takes connections for upstream on a free loopback port.
func listenProxy(upstream string) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for a proxy of %s: %w", upstream, err)
	}
	p := &proxy{listener: listener, upstream: upstream, open: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(p.open)
	return p, nil
}

// addr is where the proxy listens.
func (p *proxy) addr() string { return p.listener.Addr().String() }

// hold stops all traffic.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
		p.open = make(chan struct{})
	default: // held already
	}
}

// release lets traffic go on where it stopped.
func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.open:
	default:
		close(p.open)
	}
}

// run forwards until ctx ends, and returns when every connection is closed.
func (p *proxy) run(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	defer context.AfterFunc(ctx, p.end)()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			p.end()
			if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
				return nil
			}
			return fmt.Errorf("proxy of %s: %w", p.upstream, err)
		}
		all.Go(func() { p.serve(ctx, client) })
	}
}

// end closes everything, and lets what waits find out.
func (p *proxy) end() {
	p.mu.Lock()
	p.ended = true
	for c := range p.conns {
		_ = c.Close() // ends the copies in both directions
	}
	p.mu.Unlock()
	_ = p.listener.Close()
}

// own notes a connection to be closed at the end; false if the end has come.
func (p *proxy) own(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.conns[c] = struct{}{}
	}
	return !p.ended
}

func (p *proxy) disown(c net.Conn) {
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
	_ = c.Close() // may be closed already
}

func (p *proxy) serve(ctx context.Context, client net.Conn) {
	defer p.disown(client)
	if !p.own(client) {
		return
	}
	var d net.Dialer
	server, err := d.DialContext(ctx, "tcp", p.upstream)
	if err != nil {
		return // the client sees a closed connection, as it would without us
	}
	defer p.disown(server)
	if !p.own(server) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.copy(ctx, server, client) })
	both.Go(func() { p.copy(ctx, client, server) })
	both.Wait()
}

// copy forwards one direction. What was read when traffic stops goes on later;
// it is at most one buffer.
func (p *proxy) copy(ctx context.Context, to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			if !p.pass(ctx) {
				return
			}
			if _, err := to.Write(buffer[:n]); err != nil {
				_ = from.Close() // nobody is left to read for
				return
			}
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				closeWrite(to)
			} else {
				_ = to.Close()
			}
			return
		}
	}
}

// pass waits until bytes may pass.
func (p *proxy) pass(ctx context.Context) bool {
	for {
		p.mu.Lock()
		open := p.open
		p.mu.Unlock()
		select {
		case <-open:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the other direction may still have something to say
		return
	}
	_ = c.Close()
}
