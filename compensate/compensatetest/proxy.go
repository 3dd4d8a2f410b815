package compensatetest

import (
	"net"
	"sync"
	"testing"
)

// Fault is how a proxy breaks a connection.
type Fault string

const (
	CutBefore     Fault = "cut before the request"    // it does not reach the server
	CutAfter      Fault = "cut after the request"     // it does, and nobody waits for the answer
	SwallowAnswer Fault = "cut instead of the answer" // the server has answered, and the client never hears
)

// Proxy stands between an applier and its server and breaks a connection at a
// chosen request. A request is what the client sends at once.
type Proxy struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu    sync.Mutex
	open  map[net.Conn]bool // under mu, as is what follows
	fault Fault             // "" when not armed
	due   func(request []byte) bool
	hook  func()
	hit   bool
}

// NewProxy starts a proxy for target (host:port). It stops at the end of the test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{target: target, listener: listener, open: make(map[net.Conn]bool)}
	p.running.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.mu.Lock()
		for conn := range p.open {
			_ = conn.Close()
		}
		p.mu.Unlock()
		p.running.Wait()
	})
	return p
}

// Address is host:port of the proxy.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Arm breaks the connection of the request that is the given number from now on.
func (p *Proxy) Arm(fault Fault, number int) {
	p.arm(fault, func([]byte) bool { number--; return number == 0 }, nil)
}

// ArmCommit breaks the connection of the next request that commits. The hook, if
// any, runs where the answer was swallowed, before the client knows.
func (p *Proxy) ArmCommit(fault Fault, commits func(request []byte) bool, hook func()) {
	p.arm(fault, commits, hook)
}

func (p *Proxy) arm(fault Fault, due func([]byte) bool, hook func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.due, p.hook, p.hit = fault, due, hook, false
}

// Disarm says whether the fault happened.
func (p *Proxy) Disarm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = ""
	return p.hit
}

// meet returns the fault that a request meets.
func (p *Proxy) meet(request []byte) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault == "" || !p.due(request) {
		return ""
	}
	fault := p.fault
	p.fault, p.hit = "", true
	return fault
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		l := &link{proxy: p, client: client, server: server}
		p.mu.Lock()
		p.open[client], p.open[server] = true, true
		p.mu.Unlock()
		p.running.Go(l.requests)
		p.running.Go(l.answers)
	}
}

// link is one connection through the proxy.
type link struct {
	proxy          *Proxy
	client, server net.Conn

	mu      sync.Mutex
	swallow bool // under mu
}

func (l *link) close() {
	_ = l.client.Close()
	_ = l.server.Close()
	l.proxy.mu.Lock()
	defer l.proxy.mu.Unlock()
	delete(l.proxy.open, l.client)
	delete(l.proxy.open, l.server)
}

func (l *link) requests() {
	defer l.close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := l.client.Read(buffer)
		if err != nil {
			return
		}
		fault := l.proxy.meet(buffer[:n])
		switch fault {
		case CutBefore:
			return
		case SwallowAnswer:
			l.mu.Lock()
			l.swallow = true
			l.mu.Unlock()
		}
		if _, err := l.server.Write(buffer[:n]); err != nil || fault == CutAfter {
			return
		}
	}
}

func (l *link) answers() {
	defer l.close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := l.server.Read(buffer)
		if err != nil {
			return
		}
		l.mu.Lock()
		swallow := l.swallow
		l.mu.Unlock()
		if swallow {
			l.proxy.mu.Lock()
			hook := l.proxy.hook
			l.proxy.mu.Unlock()
			if hook != nil {
				hook()
			}
			return
		}
		if _, err := l.client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
