package faultnet

import (
	"net"
	"sync"
	"time"
)

// link is one connection: to the client, and to the server.
type link struct {
	network *Network
	once    sync.Once
	done    chan struct{} // closed when the link has ended

	mu     sync.Mutex
	ends   [2]net.Conn // client and server, once it was reached; under mu
	passed [2]int      // by Direction, bytes since the fault was made; under the network's mu
}

// reached notes the connection to the server, false if the link has ended.
func (l *link) reached(server net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.done:
		return false
	default:
		l.ends[1] = server
		return true
	}
}

// end closes both connections; it may be called again.
func (l *link) end() {
	l.once.Do(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		close(l.done)
		for _, c := range l.ends {
			if c != nil {
				_ = c.Close()
			}
		}
	})
}

// abrupt makes the end one with an RST.
func (l *link) abrupt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.ends {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a connection that is gone needs none
		}
	}
}

// forward copies one direction. The end of it ends the other one too, unless
// it is a client or server that only has no more to say.
func (l *link) forward(d Direction, from, to net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 && !l.pass(d, to, buffer[:n]) {
			l.end()
			return
		}
		if err != nil {
			if tcp, ok := to.(*net.TCPConn); ok && tcp.CloseWrite() == nil {
				return
			}
			l.end()
			return
		}
	}
}

// fault returns the present fault, and what is closed when there is another.
func (l *link) fault(d Direction) (Fault, <-chan struct{}) {
	n := l.network
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.faults[d], n.changed
}

// pass writes bytes as the present fault lets them; false when the link ends.
func (l *link) pass(d Direction, to net.Conn, bytes []byte) bool {
	delayed := false
	for len(bytes) > 0 {
		f, changed := l.fault(d)
		switch {
		case f.Hold:
			select {
			case <-changed:
			case <-l.done:
				return false
			}
			continue
		case f.Drop:
			return true
		case f.Delay > 0 && !delayed:
			if !l.wait(f.Delay) {
				return false
			}
			delayed = true
			continue // there may be another fault by now
		}
		n, last := l.piece(d, f, len(bytes))
		if n > 0 {
			if _, err := to.Write(bytes[:n]); err != nil {
				return false
			}
		}
		if last {
			return false
		}
		bytes = bytes[n:]
		if f.Rate > 0 && !l.wait(time.Duration(n)*time.Second/time.Duration(f.Rate)) {
			return false
		}
	}
	return true
}

// piece says how many of so many bytes are written together, and whether they
// are the last.
func (l *link) piece(d Direction, f Fault, n int) (piece int, last bool) {
	if f.Slice > 0 {
		n = min(n, f.Slice)
	}
	if f.Rate > 0 {
		n = min(n, 1+f.Rate/50)
	}
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	if f.Limit > 0 && l.passed[d]+n >= f.Limit {
		return max(0, f.Limit-l.passed[d]), true
	}
	l.passed[d] += n
	return n, false
}

// wait waits for some time, false when the link ends first.
func (l *link) wait(long time.Duration) bool {
	timer := time.NewTimer(long)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.done:
		return false
	}
}
