// Package faultnet puts a network with faults between clients and a server on
// loopback.
//
// It promises that a fault takes effect at once, on connections that are there
// too; that bytes which pass are neither changed nor reordered, whatever the
// fault; and that nothing of a network is left once it is closed.
//
// It assumes a server that listens on TCP.
package faultnet

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// Direction says which bytes a fault concerns.
type Direction int

// The directions, as the client sees them.
const (
	Up   Direction = iota // what the client sends
	Down                  // what the server sends
)

// Fault is what happens to the bytes of one direction. The zero value is none.
type Fault struct {
	// Hold lets no byte pass and keeps what comes, as far as buffers go: a
	// connection that hangs. Without it, what was held goes on.
	Hold bool
	// Drop loses every byte without a word, so that the connection is half-open:
	// it can never be used again.
	Drop bool
	// Delay is how long what was read together waits.
	Delay time.Duration
	// Rate is how many bytes pass in a second; 0: any.
	Rate int
	// Slice is how many bytes are written together; 0: any.
	Slice int
	// Limit is how many bytes pass on each connection, from now or from its
	// start on, until it ends; 0: any.
	Limit int
}

// Network leads to one server. Its methods may be called by any goroutine.
type Network struct {
	server   string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	faults  [2]Fault           // by Direction; under mu, as is what follows
	changed chan struct{}      // closed when faults change
	links   map[*link]struct{} // connections
	cut     bool               // new connections are closed at once
	closed  bool
}

// Listen makes a network without faults that leads to a server's address.
func Listen(server string) (*Network, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("network to %s: %w", server, err)
	}
	n := &Network{server: server, listener: listener, changed: make(chan struct{}), links: map[*link]struct{}{}}
	n.running.Go(n.accept)
	return n, nil
}

// Addr is where clients connect to; it stays the same whatever happens.
func (n *Network) Addr() string { return n.listener.Addr().String() }

// Set makes the fault of a direction, in place of the one before.
func (n *Network) Set(d Direction, f Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults[d] = f
	for l := range n.links {
		l.passed[d] = 0
	}
	close(n.changed)
	n.changed = make(chan struct{})
}

// Heal ends the faults of both directions.
func (n *Network) Heal() {
	n.Set(Up, Fault{})
	n.Set(Down, Fault{})
}

// Cut closes every connection, and new ones as they come, until Mend.
func (n *Network) Cut() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = true
	n.endAll()
}

// Mend lets connections through again.
func (n *Network) Mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = false
}

// Reset ends every connection with an RST, in place of a FIN, on both sides.
func (n *Network) Reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.links {
		l.abrupt()
	}
	n.endAll()
}

// endAll is called under mu.
func (n *Network) endAll() {
	for l := range n.links {
		l.end()
	}
}

// Links returns how many connections there are.
func (n *Network) Links() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.links)
}

// Close ends the network, and returns when nothing of it is left.
func (n *Network) Close() error {
	n.mu.Lock()
	n.closed, n.cut = true, true
	n.endAll()
	n.mu.Unlock()
	err := n.listener.Close()
	n.running.Wait()
	return err
}

func (n *Network) accept() {
	for {
		client, err := n.listener.Accept()
		if err != nil {
			return // closed
		}
		n.running.Go(func() { n.serve(client) })
	}
}

// serve forwards a connection until it ends.
func (n *Network) serve(client net.Conn) {
	l := &link{network: n, ends: [2]net.Conn{client}, done: make(chan struct{})}
	if !n.admit(l) {
		_ = client.Close()
		return
	}
	defer n.forget(l)
	defer l.end()
	server, err := net.Dial("tcp", n.server)
	if err != nil {
		return // the client sees a closed connection, as it would without us
	}
	if !l.reached(server) {
		_ = server.Close()
		return
	}
	var both sync.WaitGroup
	both.Go(func() { l.forward(Up, client, server) })
	both.Go(func() { l.forward(Down, server, client) })
	both.Wait()
}

func (n *Network) admit(l *link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return false
	}
	n.links[l] = struct{}{}
	return true
}

func (n *Network) forget(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.links, l)
}
