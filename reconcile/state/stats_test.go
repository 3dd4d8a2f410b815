package state

import (
	"bytes"
	"testing"
)

// "state size", "write amplification": what is written is at least what was
// asked for, and stands on the disk.
func TestStatsCountWhatIsWritten(t *testing.T) {
	db, err := Open(Config{Dir: t.TempDir(), Identity: Identity{Migration: "m", Log: "l", Partitions: 1}})
	if err != nil {
		t.Fatal(err)
	}
	p := db.Partition(0)
	value := bytes.Repeat([]byte("v"), 1000)
	for i := range 1000 {
		if err := p.Set([]byte{'k', byte(i >> 8), byte(i)}, value); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Commit(); err != nil {
		t.Fatal(err)
	}
	s := db.Stats()
	if s.Ingested < 1_000_000 || s.Written < s.Ingested || s.Bytes <= 0 {
		t.Errorf("after a megabyte was written: %+v", s)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
