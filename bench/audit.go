package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/trueup-io/trueup/reconcile/replay"
	"github.com/trueup-io/trueup/schemas"
)

// keys and changes of the log that is replayed: every key changes twice on each side.
const (
	keys    = 100_000
	changes = 4 * keys
)

const migration = `
apiVersion: trueup/v1
kind: Migration
metadata: {name: bench, owner: bench}
entities:
  - name: order
    key: [id]
    legacy: {table: public.orders}
    target: {table: shop.orders}
    fields:
      id: {type: integer}
      v:  {type: text}
    settleWindow: 1s
`

func rules() (*schemas.Rules, error) {
	m, err := schemas.ParseMigration([]byte(migration), "bench.yaml")
	if err != nil {
		return nil, err
	}
	return m.Rules()
}

// history is a log of two sides that agree: a change on one, then on the
// other, and a progress of each after a hundred.
func history(r *schemas.Rules) []schemas.Record {
	out := []schemas.Record{{Control: &schemas.Control{Baseline: schemas.BaselineEmpty}}}
	now := schemas.Micros(1_790_000_000_000_000)
	e, _ := r.Entity("order")
	for n := 1; n <= changes/2; n++ {
		now += 10
		key := fmt.Sprint(n % keys)
		row := schemas.Row{{Name: "id", Text: key}, {Name: "v", Text: fmt.Sprint("value ", n)}}
		digest := e.Image(schemas.Legacy, row).Digest
		for _, s := range schemas.Sides {
			out = append(out, schemas.Record{Change: &schemas.Change{
				EventID: schemas.EventID{Source: s.String(), Epoch: 1, Pos: fmt.Sprintf("%016X", n)}, Side: s, Entity: "order",
				Key: []string{key}, Op: schemas.OpUpdate, CommitTS: now, After: row, Digest: digest, Mapping: r.Version}})
		}
		if n%100 == 0 {
			for _, s := range schemas.Sides {
				out = append(out, schemas.Record{Progress: &schemas.Progress{Side: s, Source: s.String(), Epoch: 1,
					Pos: fmt.Sprintf("%016X", n), TS: now}})
			}
		}
	}
	return out
}

// auditReplay is a replay of an export, beside only reading its lines.
func auditReplay() (local, error) {
	r, err := rules()
	if err != nil {
		return local{}, err
	}
	var file bytes.Buffer
	w := schemas.NewLineWriter(&file, 1)
	for _, rec := range history(r) {
		if err := w.Write(&rec); err != nil {
			return local{}, err
		}
	}
	if err := w.End(); err != nil {
		return local{}, err
	}
	read := func(fn func(*schemas.Record) error) (int, error) {
		lines := schemas.NewLineReader(bytes.NewReader(file.Bytes()), 0)
		for n := 0; ; n++ {
			rec, err := lines.Next()
			if errors.Is(err, io.EOF) {
				return n, nil
			}
			if err == nil {
				err = fn(rec)
			}
			if err != nil {
				return n, err
			}
		}
	}
	return local{unit: "records/s", limit: "parsing the lines", subject: func() (n int, err error) {
		re, err := replay.New(r)
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, re.Close()) }()
		if n, err = read(re.Step); err != nil {
			return n, err
		}
		_, err = re.Finish()
		return n, err
	}, against: func() (int, error) { return read(func(*schemas.Record) error { return nil }) }}, nil
}
