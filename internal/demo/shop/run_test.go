package shop

import (
	"slices"
	"testing"
	"time"
)

// "A fault is announced with every key at which it must be found": nothing heals
// here, so after a run the stores differ at exactly those keys. In particular
// racing writers, target-first writes, touches and aborted transactions leave
// them equal.
func TestStoresDifferExactlyWhereFaultsWerePlanted(t *testing.T) {
	s, _, _ := openShop(t)
	var w witness
	c := Config{Seed: 7, Changes: 6000, SettleWindow: 100 * time.Millisecond}
	if err := Run(t.Context(), s, c, &w, noSpell); err != nil {
		t.Fatal(err)
	}
	var want, got []string
	kinds := map[string]int{}
	for _, f := range w.faults {
		kinds[string(f.Kind)]++
		if w.planted[f.ID].IsZero() {
			t.Errorf("fault %d (%s) was announced and never planted", f.ID, f.Kind)
		}
		for _, k := range f.Expect {
			want = append(want, k.Text())
		}
	}
	for kind, n := range Counts(c.Changes) {
		if kinds[string(kind)] != n {
			t.Errorf("%d faults of kind %s, want %d", kinds[string(kind)], kind, n)
		}
	}
	found, err := s.Compare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range found.Differences {
		got = append(got, d.Key.Text())
	}
	slices.Sort(want)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("the stores differ at %q, want %q", got, want)
	}
	if changes := 2 * w.rows; changes < c.Changes*8/10 || changes > c.Changes*12/10 {
		t.Errorf("%d changes, want about %d", changes, c.Changes)
	}
	if found.Orders < 200 || found.Lines < 400 {
		t.Errorf("%d orders and %d lines: the shop did little", found.Orders, found.Lines)
	}
	t.Logf("%d writes, %d changes, %d orders, %d lines, %d late", w.writes, 2*w.rows, found.Orders, found.Lines, w.late)
}
