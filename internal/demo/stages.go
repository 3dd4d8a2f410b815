package demo

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/trueup-io/trueup/internal/demo/shop"
)

// startPipeline starts Trueup on the migration and listens to it.
func (d *demo) startPipeline(ctx context.Context, cancel context.CancelCauseFunc, last *closing) error {
	p, err := d.Start(ctx, d.migration)
	if err != nil {
		return err
	}
	listening := make(chan struct{})
	stopped := make(chan struct{})
	d.pipeline = p
	d.stopping = sync.OnceValue(func() error {
		close(stopped)
		err := p.Stop()
		<-listening
		return err
	})
	last.add(func() error {
		if d.told {
			return nil // the stage has told
		}
		return d.stopping()
	})
	go func() {
		defer close(listening)
		for e := range p.Events() {
			d.keeper.take(e, time.Now())
		}
		select {
		case <-stopped:
		default:
			cancel(errEnded)
		}
	}()
	d.mu.Lock()
	d.look.pipeline, d.look.where = p, p.Where()
	d.mu.Unlock()
	d.Log.Info("pipeline started", "log", p.Where(), "migration", d.migration)
	return nil
}

// stop stops the pipeline, and keeps what it counted for the last picture.
func (d *demo) stop(context.Context) error {
	totals := d.pipeline.Totals()
	d.mu.Lock()
	d.look.pipeline, d.look.totals = nil, &totals
	d.mu.Unlock()
	d.told = true
	return d.stopping()
}

func (d *demo) write(ctx context.Context) error {
	defer func() { d.written = time.Now() }()
	return shop.Run(ctx, d.stores, d.shop, d.keeper, d.holdBack)
}

// drain waits until everything planted was found and healed, and one settle
// window more, in which nothing else may come. It gives up when nothing has come
// for long: the score says the rest.
func (d *demo) drain(ctx context.Context) error {
	for {
		settled, quiet := d.keeper.settled()
		if quiet.Before(d.written) {
			quiet = d.written
		}
		wait := d.patience
		if settled {
			wait = d.shop.SettleWindow
		}
		if left := time.Until(quiet.Add(wait)); left > 0 {
			if err := sleep(ctx, min(left, poll)); err != nil {
				return err
			}
			continue
		}
		// Whatever was due by now has been judged when this returns.
		if _, err := d.awaitCaught(ctx, time.Now().Add(d.patience)); err != nil {
			return err
		}
		if _, latest := d.keeper.settled(); !latest.After(quiet) {
			return nil
		}
	}
}

func (d *demo) compare(ctx context.Context, card *Scorecard) error {
	found, err := d.stores.Compare(ctx)
	if err != nil {
		return err
	}
	card.StoresEqual = found.Different == 0
	d.compared = found
	d.Log.Info("stores compared", "orders", found.Orders, "lines", found.Lines, "different", found.Different)
	return nil
}

func (d *demo) replay(ctx context.Context, card *Scorecard) error {
	published, replayed, err := d.pipeline.Replay(ctx)
	if err != nil {
		return err
	}
	difference := firstDifference(published, replayed)
	card.ReplayIdentical = difference == ""
	d.replayed, d.replayDifference = len(published), difference
	d.Log.Info("log replayed", "divergences", len(published), "identical", card.ReplayIdentical)
	return nil
}

// firstDifference says where two listings part, "" if they are the same.
func firstDifference(published, replayed [][]byte) string {
	for i := range min(len(published), len(replayed)) {
		if string(published[i]) != string(replayed[i]) {
			return fmt.Sprintf("line %d: published %s, replayed %s", i+1, published[i], replayed[i])
		}
	}
	if len(published) != len(replayed) {
		return fmt.Sprintf("%d lines were published, %d replayed", len(published), len(replayed))
	}
	return ""
}
