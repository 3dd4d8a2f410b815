package main

import (
	"context"
	"errors"

	"github.com/trueup-io/trueup/stream"
)

// brokerTask runs the embedded broker, which acknowledges what is synchronously
// written, until it is stopped.
type brokerTask struct {
	Dir        string
	Partitions int // 0: as many as there are by default
	Changelog  bool
}

// ready is the broker's answer when it takes records.
type ready struct{ Brokers string }

const logName = "bench"

func (t brokerTask) run(ctx context.Context) error {
	l, err := stream.Open(ctx, stream.Config{Migration: logName, DataDir: t.Dir, Partitions: t.Partitions, Changelog: t.Changelog})
	if err != nil {
		return err
	}
	err = answer(ready{l.Describe()})
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, l.Close())
}

// brokerGC is for the embedded broker's own process: in the product it shares the heap of what captures and compares,
// which is collected seldom because it is large. Alone it would be collected twenty times a second.
const brokerGC = "GOGC=400"

// startBroker starts the embedded broker in a process of its own.
func startBroker(ctx context.Context, t brokerTask) (*child, error) {
	c, err := startChild(ctx, "broker", t, brokerGC)
	if err != nil {
		return nil, err
	}
	var r ready
	if err := c.read(&r); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return c, nil
}
