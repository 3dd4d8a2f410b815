package demo

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// echo is a server that sends lines back, and says when it has one.
func echo(t *testing.T) (addr string, got <-chan string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 16) // more than any test sends
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				s := bufio.NewScanner(c)
				for s.Scan() {
					lines <- s.Text()
					if _, err := c.Write(append(s.Bytes(), '\n')); err != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
	})
	return listener.Addr().String(), lines
}

func startTestProxy(t *testing.T, upstream string) (p *proxy, stop func()) {
	t.Helper()
	p, err := listenProxy(upstream)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("proxy: %v", err)
		}
	})
	return p, stop
}

// "Connections stay open and new ones are taken, but no byte goes through"; what
// waited arrives afterwards, whole and in order.
func TestProxyHoldsBackAndReleases(t *testing.T) {
	addr, got := echo(t)
	p, stop := startTestProxy(t, addr)
	t.Cleanup(stop)
	dial := func() (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", p.addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c, bufio.NewReader(c)
	}
	say := func(c net.Conn, line string) {
		if _, err := c.Write([]byte(line + "\n")); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(r *bufio.Reader, want string) {
		t.Helper()
		line, err := r.ReadString('\n')
		if err != nil || line != want+"\n" {
			t.Fatalf("got %q (%v), want %q", line, err, want)
		}
	}
	old, oldReader := dial()
	say(old, "one")
	expect(oldReader, "one")
	<-got

	p.hold()
	p.hold() // held already
	say(old, "two")
	fresh, freshReader := dial()
	say(fresh, "three")
	// A byte that gets through would be here within the time of many round trips.
	select {
	case line := <-got:
		t.Fatalf("%q went through", line)
	case <-time.After(200 * time.Millisecond):
	}
	say(old, "four")
	p.release()
	p.release()
	expect(oldReader, "two")
	expect(oldReader, "four")
	expect(freshReader, "three")
}

// The end closes every connection, also those that are held back.
func TestProxyEnds(t *testing.T) {
	addr, _ := echo(t)
	p, stop := startTestProxy(t, addr)
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("one\n")); err != nil {
		t.Fatal(err)
	}
	if _, err := bufio.NewReader(c).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	p.hold()
	if _, err := c.Write([]byte("two\n")); err != nil {
		t.Fatal(err)
	}
	stop()
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("read %d bytes after the end", n)
	}
	if _, err := net.Dial("tcp", p.addr()); err == nil {
		t.Error("connected after the end")
	}
}

// A half-closed connection still carries what the other side has to say, and a
// store that is gone closes it.
func TestProxyPassesEnds(t *testing.T) {
	addr, _ := echo(t)
	p, stop := startTestProxy(t, addr)
	defer stop()
	c, err := net.Dial("tcp", p.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte("last\n")); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(c); err != nil || string(all) != "last\n" {
		t.Errorf("got %q (%v)", all, err)
	}

	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	lost, stopLost := startTestProxy(t, nobody.Addr().String())
	defer stopLost()
	d, err := net.Dial("tcp", lost.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if _, err := d.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("read from a store that is gone: %v", err)
	}
}
