package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/provider"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/rollout/router"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// fault is what a service does wrong with the side that it does not write first.
type fault int32

const (
	sound   fault = iota
	drops         // it does not write it, and says that it did
	garbles       // it writes something else
)

// itemService is a service over HTTP that reads and writes items as a rollout says: PUT
// and GET /ID. Each write is tagged with its id, the service and the epoch that it was made by.
type itemService struct {
	name   string
	flags  *provider.Provider
	stores [3]*sql.DB // by side: PostgreSQL, MariaDB
	fault  atomic.Int32
	later  sync.WaitGroup // writes beside, after the answer
	beside chan struct{}  // room for them: so few that they alone pull no trigger
	n      atomic.Int64
	held   atomic.Int64 // how often a write had to wait
	server *httptest.Server
}

// newItemService starts a service with a connection of its own to the registry.
func newItemService(t *testing.T, name string, registryDir string, stores [3]*sql.DB) *itemService {
	t.Helper()
	log, err := stream.Connect(t.Context(), (&registryAt{name: "rollouts", dataDir: registryDir}).config(nil))
	if err != nil {
		t.Fatal(err)
	}
	store, err := registry.NewStore(log)
	if err != nil {
		t.Fatal(err)
	}
	s := &itemService{name: name, stores: stores, beside: make(chan struct{}, 3), flags: provider.New(provider.Config{Config: follow.Config{Source: store},
		Router: &router.Config{Name: name, Flags: []string{"items"}, Registry: store}})}
	if err := s.flags.Init(openfeature.EvaluationContext{}); err != nil {
		t.Fatal(err)
	}
	s.server = httptest.NewServer(s)
	ctx, stop := context.WithCancel(context.Background())
	heard := make(chan struct{})
	go func() { // somebody has to take what the provider says of itself
		defer close(heard)
		for {
			select {
			case <-s.flags.EventChannel():
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() {
		s.server.Close()
		s.later.Wait()
		s.flags.Shutdown()
		stop()
		<-heard
		if err := store.Close(); err != nil {
			t.Error(err)
		}
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// reads is the side that a key is read from.
func (s *itemService) reads(id string) (schemas.Side, error) {
	d := s.flags.StringEvaluation(context.Background(), "items", "", openfeature.FlattenedContext{openfeature.TargetingKey: id})
	if err := d.Error(); err != nil {
		return 0, err
	}
	side, _ := d.FlagMetadata.GetString("reads")
	return schemas.ParseSide(side)
}

// begin waits until the rollout lets a write through: while its key is handed over, and until
// the service has joined.
func (s *itemService) begin(ctx context.Context, id string) (*router.Write, error) {
	for {
		w, err := s.flags.Begin("items", []string{id})
		var held *router.HeldError
		if err == nil || !errors.As(err, &held) && !errors.Is(err, router.ErrNotJoined) || !pause(ctx, 5*time.Millisecond) {
			return w, err
		}
		s.held.Add(1)
	}
}

// ServeHTTP answers with the value, and says by which epoch.
func (s *itemService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/")
	value, epoch := "", uint64(0)
	var err error
	if r.Method == http.MethodPut {
		value, epoch, err = s.take(r, id)
	} else {
		var side schemas.Side
		if side, err = s.reads(id); err == nil {
			err = s.stores[side].QueryRowContext(r.Context(), "select name from item where id = "+id).Scan(&value)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Epoch", fmt.Sprint(epoch))
	fmt.Fprint(w, value)
}

// take writes what a request says, and returns it with the epoch by which it was written.
func (s *itemService) take(r *http.Request, id string) (string, uint64, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return "", 0, err
	}
	for {
		w, err := s.begin(r.Context(), id)
		if err != nil {
			return "", 0, err
		}
		if err = s.put(r.Context(), w, id, string(body)); !errors.Is(err, router.ErrEnded) { // by a kill: again, where it is right now
			return string(body), w.Epoch, err
		}
	}
}

// put writes the sides in the order that the rollout says.
func (s *itemService) put(ctx context.Context, w *router.Write, id, value string) error {
	end := w.End
	defer func() { end() }()
	tag := map[string]string{"write_id": fmt.Sprintf("%s-%d", s.name, s.n.Add(1)), "service": s.name, "flag_epoch": fmt.Sprintf("items:%d", w.Epoch)}
	first := w.Authority()
	second := first.Other()
	if err := s.write(ctx, w, first, tag, id, value); err != nil {
		return err
	}
	switch fault(s.fault.Load()) {
	case drops:
		return nil
	case garbles:
		value += " garbled"
	}
	switch w.Axes.Writes {
	case rollout.WriteShadow:
		end = func() {} // when that has
		s.beside <- struct{}{}
		s.later.Go(func() {
			defer w.End()
			_ = s.write(context.Background(), w, second, tag, id, value) // the comparison finds what is missing
			<-s.beside
		})
	case rollout.WriteLegacyThenTarget, rollout.WriteTargetThenLegacy:
		return s.write(ctx, w, second, tag, id, value)
	}
	return nil
}

// write writes one side in a transaction with its tag, if the write lives by then.
func (s *itemService) write(ctx context.Context, w *router.Write, side schemas.Side, tag map[string]string, id, value string) error {
	tx, err := s.stores[side].BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of what was committed it does nothing
	if side == schemas.Legacy {
		said, err := json.Marshal(tag)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "select pg_logical_emit_message(true, 'trueup', $1::text)", string(said)); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "insert into item (id, name) values ("+id+", $1) on conflict (id) do update set name = excluded.name", value)
		if err != nil {
			return err
		}
		if err := w.Live(); err != nil {
			return err
		}
		return tx.Commit()
	}
	comment := fmt.Sprintf("/*flag_epoch='%s',service='%s',write_id='%s'*/ ", tag["flag_epoch"], tag["service"], tag["write_id"])
	if _, err := tx.ExecContext(ctx, comment+"insert into item (id, name) values ("+id+", ?) on duplicate key update name = values(name)", value); err != nil {
		return err
	}
	if err := w.Live(); err != nil {
		return err
	}
	return tx.Commit()
}
