package shop

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers/servertest"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// openShop opens a shop with empty tables of its own.
func openShop(t *testing.T) (*Stores, string, string) {
	t.Helper()
	legacy := servertest.PostgresDatabase(t)
	target, database := servertest.MariaDBDatabase(t)
	s, err := Open(t.Context(), legacy, target, database, 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.CreateTables(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, legacy, target
}

// witness observes a run.
type witness struct {
	mu      sync.Mutex
	faults  []*Fault
	planted map[int]time.Time
	rows    int
	writes  int
	late    int
}

func (w *witness) Planting(f *Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, f)
}

func (w *witness) Planted(f *Fault, from time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.planted == nil {
		w.planted = map[int]time.Time{}
	}
	w.planted[f.ID] = from
}

func (w *witness) Wrote(rows int, _ time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows += rows
	w.writes++
}

func (w *witness) Late([]int64, time.Time, time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late++
}

func noSpell(context.Context, time.Duration) error { return nil }
