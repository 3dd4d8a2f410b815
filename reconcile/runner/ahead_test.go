package runner

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

func recordsFor(n int) (records []stream.Record, want []string) {
	for i := range n {
		pos := fmt.Sprintf("%016X", i)
		r := stream.Record{Offset: int64(i), Value: schemas.AppendRecord(nil, &schemas.Record{Change: &schemas.Change{
			EventID: schemas.EventID{Source: "s", Epoch: 1, Pos: pos}, Side: schemas.Legacy, Entity: "order", Key: []string{pos}, Op: schemas.OpDelete}})}
		if i%7 == 3 {
			r.Value = []byte("\x01not a record")
			pos = "bad"
		}
		records, want = append(records, r), append(want, pos)
	}
	return records, want
}

// Every record comes once and in order, whoever read it, and what cannot be read stays in its place. A
// reader that was left in the middle is whole for the next records.
func TestRecordsAreReadAheadInTheirOrder(t *testing.T) {
	m, err := schemas.ParseMigration([]byte(migration), "test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	reader := newReader(rules)
	stop := errors.New("a test")
	for _, n := range []int{0, 1, chunk, chunk + 1, chunks * chunk, 3*chunks*chunk + 5} {
		for _, until := range []int{n, n / 2} {
			for _, slow := range []bool{false, true} { // whoever takes them: the other one is ahead then
				records, want := recordsFor(n)
				var got []string
				err := reader.each(records, func(r *stream.Record, rec *schemas.Record, bad error) error {
					if len(got) == until {
						return stop
					}
					if int(r.Offset) != len(got) {
						t.Fatalf("offset %d comes as number %d", r.Offset, len(got))
					}
					if slow && len(got)%chunk == 0 {
						time.Sleep(200 * time.Microsecond) //nolint:forbidigo // slow is what it is to be
					}
					if bad != nil {
						got = append(got, "bad")
						return nil
					}
					got = append(got, rec.Change.Pos)
					return nil
				})
				if (until < n) != errors.Is(err, stop) {
					t.Fatalf("%d of %d: %v", until, n, err)
				}
				if !slices.Equal(got, want[:until]) {
					t.Fatalf("%d of %d: %q", until, n, got)
				}
			}
		}
	}
}

// What is read ahead is bounded by its size, too: columns take several times what their records do.
func TestLargeRecordsAreReadAheadInFewer(t *testing.T) {
	large, over := make([]byte, chunkBytes/4), make([]byte, 3*chunkBytes)
	var records []stream.Record
	for i := range 300 {
		r := stream.Record{Value: large}
		switch {
		case i < 2*chunk:
			r.Value = nil
		case i == 200:
			r.Value = over
		}
		records = append(records, r)
	}
	var r reader
	r.split(records)
	taken := 0
	for c := range r.ends {
		of := r.of(int64(c))
		size := 0
		for i := range of {
			size += len(of[i].Value)
		}
		if taken += len(of); len(of) == 0 || len(of) > chunk || size-len(of[len(of)-1].Value) >= chunkBytes {
			t.Errorf("chunk %d has %d records of %d bytes", c, len(of), size)
		}
	}
	if taken != len(records) || r.ends[0] != chunk {
		t.Errorf("%d records of %d, %d of them at first", taken, len(records), r.ends[0])
	}
	if r.split(nil); len(r.ends) != 0 {
		t.Errorf("no records in %d chunks", len(r.ends))
	}
}
