package faultnet

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo serves connections until the test ends: what it is sent, it sends back.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				io.Copy(c, c)
			})
		}
	})
	t.Cleanup(func() {
		listener.Close()
		all.Wait()
	})
	return listener.Addr().String()
}

func network(t *testing.T) *Network {
	t.Helper()
	n, err := Listen(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func dial(t *testing.T, n *Network) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", n.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends bytes and returns as many as come back of them.
func ask(c net.Conn, text string) (string, error) {
	if _, err := io.WriteString(c, text); err != nil {
		return "", err
	}
	got := make([]byte, len(text))
	n, err := io.ReadFull(c, got)
	return string(got[:n]), err
}

// Bytes that pass are the ones that were sent, in their order, whatever slows
// them down or holds them back.
func TestBytesPassUnchanged(t *testing.T) {
	n := network(t)
	c := dial(t, n)
	sent := make([]byte, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range sent {
		sent[i] = byte(rng.Uint32())
	}
	var turning sync.WaitGroup
	stop := make(chan struct{})
	turning.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-stop:
				n.Heal()
				return
			case <-tick.C:
				n.Set(Direction(i%2), []Fault{{Hold: true}, {Slice: 700}, {Delay: time.Millisecond}, {Rate: 50 << 20}, {}}[i%5])
			}
		}
	})
	var sending sync.WaitGroup
	sending.Go(func() { c.Write(sent) })
	got := make([]byte, len(sent))
	_, err := io.ReadFull(c, got[:len(got)/2])
	close(stop)
	turning.Wait()
	if err == nil {
		_, err = io.ReadFull(c, got[len(got)/2:])
	}
	sending.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%v; the same bytes: %t", err, bytes.Equal(got, sent))
	}
}

// Each fault does what it says to connections that are there already.
func TestFaults(t *testing.T) {
	n := network(t)
	c := dial(t, n)
	if got, err := ask(c, "one"); err != nil || got != "one" {
		t.Fatal(got, err)
	}
	n.Set(Down, Fault{Limit: 4})
	if got, err := ask(c, "limit"); err == nil || got != "limi" {
		t.Error("limit:", got, err)
	}
	n.Heal()

	c = dial(t, n)
	n.Set(Up, Fault{Hold: true})
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if got, err := ask(c, "held"); err == nil {
		t.Error("held:", got)
	}
	n.Heal()
	c.SetReadDeadline(time.Time{})
	if got, err := ask(c, "x"); err != nil || got != "h" { // what was held comes first
		t.Error("released:", got, err)
	}

	c = dial(t, n)
	if got, err := ask(c, "two"); err != nil || got != "two" {
		t.Fatal(got, err)
	}
	n.Set(Down, Fault{Drop: true})
	c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if got, err := ask(c, "lost"); err == nil {
		t.Error("dropped:", got)
	}
	n.Heal()

	c = dial(t, n)
	if got, err := ask(c, "three"); err != nil || got != "three" {
		t.Fatal(got, err)
	}
	n.Reset()
	if got, err := ask(c, "reset"); err == nil {
		t.Error("reset:", got)
	}
}

// A cut network ends what is there and takes nothing; it is mended under its
// own address.
func TestCutAndMend(t *testing.T) {
	n := network(t)
	c := dial(t, n)
	if got, err := ask(c, "one"); err != nil || got != "one" {
		t.Fatal(got, err)
	}
	addr := n.Addr()
	n.Cut()
	for _, c := range []net.Conn{c, dial(t, n)} {
		if got, err := ask(c, "cut"); err == nil {
			t.Error("cut:", got)
		}
	}
	n.Mend()
	if got, err := ask(dial(t, n), "two"); err != nil || got != "two" || n.Addr() != addr {
		t.Error("mended:", got, err)
	}
}
