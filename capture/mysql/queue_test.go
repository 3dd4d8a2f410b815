package mysql

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestQueueHoldsAtMostItsBytes(t *testing.T) {
	q := newQueue(100)
	put := make(chan int)
	go func() {
		for i, size := range []int{60, 40, 1, 500, 10} {
			if !q.put(packet{raw: make([]byte, size)}) {
				return
			}
			put <- i
		}
	}()
	<-put
	<-put
	select {
	case <-put:
		t.Fatal("101 bytes went into a queue of 100")
	case <-time.After(10 * time.Millisecond):
	}
	var sizes []int
	take := func() {
		items, err := q.take(t.Context(), nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range items {
			sizes = append(sizes, len(p.raw))
		}
	}
	take() // 60, 40
	<-put  // 1
	take()
	<-put // 500: larger than the queue, it goes in alone
	take()
	<-put
	take()
	if len(sizes) != 5 || sizes[3] != 500 {
		t.Errorf("took packets of %v bytes", sizes)
	}
}

func TestQueueGivesItsErrorAfterTheLastPacket(t *testing.T) {
	q := newQueue(100)
	gone := errors.New("gone")
	q.put(packet{raw: []byte{1}})
	q.end(gone)
	q.end(errors.New("later"))
	items, err := q.take(t.Context(), nil, nil, nil)
	if len(items) != 1 || err != nil {
		t.Fatalf("took %d packets, %v", len(items), err)
	}
	if _, err = q.take(t.Context(), nil, nil, items); !errors.Is(err, gone) {
		t.Errorf("ended with %v", err)
	}
}

func TestQueueWakesWhoeverWaits(t *testing.T) {
	q := newQueue(10)
	wake := make(chan time.Time, 1)
	wake <- time.Time{}
	if items, err := q.take(t.Context(), wake, nil, nil); len(items) != 0 || err != nil {
		t.Errorf("woken: %d packets, %v", len(items), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.take(ctx, nil, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	q.put(packet{raw: make([]byte, 10)})
	done := make(chan bool)
	go func() { done <- q.put(packet{raw: make([]byte, 1)}) }()
	q.close()
	if <-done {
		t.Error("a closed queue took a packet")
	}
}
