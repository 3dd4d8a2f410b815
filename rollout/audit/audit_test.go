package audit

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// events are records as a topic has them.
func events(n int) (out [][]byte) {
	for i := range n {
		out = append(out, fmt.Appendf(nil, `{"v":1,"id":"%d","who":"ann"}`, i))
	}
	return out
}

func tree(t *testing.T, records [][]byte) *Tree {
	t.Helper()
	out := &Tree{}
	for i, r := range records {
		if err := out.Append(int64(i), r); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func journal(t *testing.T) *Journal {
	t.Helper()
	j, err := OpenJournal(t.TempDir(), "rollouts")
	if err != nil {
		t.Fatal(err)
	}
	return j
}

// signed are the checkpoints over the first records, as they are read from a file.
func signed(t *testing.T, j *Journal, records [][]byte, sizes ...int) []Checkpoint {
	t.Helper()
	for _, n := range sizes {
		if _, err := j.Sign(tree(t, records[:n])); err != nil {
			t.Fatal(err)
		}
	}
	return read(t, j)
}

func read(t *testing.T, j *Journal) []Checkpoint {
	t.Helper()
	file, err := os.ReadFile(j.path)
	if err != nil {
		t.Fatal(err)
	}
	out, err := ReadCheckpoints(file, j.Verifier(), j.origin)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// wants verifies records by checkpoints; nothing more is signed over what is not intact.
func wants(t *testing.T, j *Journal, records [][]byte, checkpoints []Checkpoint, want Verdict) *Report {
	t.Helper()
	r, err := Verify(tree(t, records), checkpoints)
	if err != nil || r.Verdict != want || (r.Reason == "") != (want == Intact) {
		t.Fatalf("want %s, have %+v, %v", want, r, err)
	}
	if _, err := j.Sign(tree(t, records)); want != Intact && !errors.Is(err, ErrContradicted) {
		t.Errorf("a checkpoint was signed over a tree that is %s: %v", want, err)
	}
	return r
}

// "Chain verifies": what goes on is intact, whatever was signed on the way.
func TestI36_WhatGoesOnIsIntact(t *testing.T) {
	records, j := events(40), journal(t)
	checkpoints := signed(t, j, records, 0, 1, 7, 8, 33, 33)
	if len(checkpoints) != 5 {
		t.Fatalf("have %+v", checkpoints)
	}
	if r := wants(t, j, records, checkpoints, Intact); r.Covered != 33 || r.Size != 40 {
		t.Errorf("have %+v", r)
	}
}

// Any record that a checkpoint covers: each of its bytes.
func TestI36_AnEditIsFound(t *testing.T) {
	records, j := events(9), journal(t)
	checkpoints := signed(t, j, records, 4, 9)
	for n := range records {
		for at := range records[n] {
			edited := slices.Clone(records)
			edited[n] = slices.Clone(edited[n])
			edited[n][at] ^= 1
			r := wants(t, j, edited, checkpoints, Altered)
			if from, to := r.Covered, r.Until; int64(n) < from || int64(n) >= to {
				t.Fatalf("record %d was edited, have %+v", n, r)
			}
		}
	}
}

func TestI36_ADeletionIsFound(t *testing.T) {
	records, j := events(9), journal(t)
	checkpoints := signed(t, j, records, 4, 7)
	for n := range 7 {
		wants(t, j, slices.Delete(slices.Clone(records), n, n+1), checkpoints, Altered)
	}
	// A topic whose beginning was deleted says so by its offsets.
	if err := (&Tree{}).Append(1, records[1]); !errors.Is(err, ErrMissing) {
		t.Errorf("have %v", err)
	}
}

func TestI36_ReorderingIsFound(t *testing.T) {
	records, j := events(9), journal(t)
	checkpoints := signed(t, j, records, 4, 9)
	for a := range records {
		for b := range a {
			moved := slices.Clone(records)
			moved[a], moved[b] = moved[b], moved[a]
			wants(t, j, moved, checkpoints, Altered)
		}
	}
}

func TestI36_AnInsertionIsFound(t *testing.T) {
	records, j := events(9), journal(t)
	checkpoints := signed(t, j, records, 4, 9)
	for n := range records {
		wants(t, j, slices.Insert(slices.Clone(records), n, []byte("{}")), checkpoints, Altered)
		if n < 8 { // behind the last one it is a record that came later
			wants(t, j, slices.Insert(slices.Clone(records), n, records[n]), checkpoints, Altered) // the same once more
		}
	}
}

// "Truncation detected via external checkpoint."
func TestI36_TruncationIsFound(t *testing.T) {
	records, j := events(9), journal(t)
	checkpoints := signed(t, j, records, 4, 9)
	for n := range records {
		if r := wants(t, j, records[:n], checkpoints, Truncated); n >= 4 && (r.Covered != 4 || r.Until != 9) {
			t.Errorf("%d records: have %+v", n, r)
		}
	}
}

// Two histories that the same key has signed, of as many records or not.
func TestI36_AForkIsFound(t *testing.T) {
	records, j := events(9), journal(t)
	ours := signed(t, j, records, 9)
	fork := slices.Clone(records)
	fork[5] = []byte("{}")
	if err := os.Remove(j.path); err != nil { // whoever forks forgets what he has signed
		t.Fatal(err)
	}
	theirs := signed(t, j, fork, 7, 9)
	for _, history := range [][][]byte{records, fork} {
		r, err := Verify(tree(t, history), append(slices.Clone(ours), theirs...))
		if err != nil || r.Verdict == Intact {
			t.Errorf("have %+v, %v", r, err)
		}
	}
	if r, err := Verify(tree(t, fork), append(slices.Clone(ours), theirs[1])); err != nil || r.Verdict != Forked {
		t.Errorf("have %+v, %v", r, err)
	}
	if r, err := Verify(tree(t, fork), ours); err != nil || r.Verdict != Altered {
		t.Errorf("have %+v, %v", r, err)
	}
}

// An older state is whole and its checkpoint is genuine; the newer checkpoint shows it, also
// when other records have been written behind it since.
func TestI36_AnOlderTreePutBackIsFound(t *testing.T) {
	records, j := events(9), journal(t)
	checkpoints := signed(t, j, records, 4, 9)
	wants(t, j, records[:4], checkpoints, Truncated)
	wants(t, j, append(slices.Clone(records[:4]), events(20)[10:]...), checkpoints, Altered)
}

// A checkpoint that was edited, of another key or of another registry is none.
func TestI36_AForgedCheckpointIsNone(t *testing.T) {
	records, j := events(9), journal(t)
	signed(t, j, records, 4, 9)
	file, err := os.ReadFile(j.path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadCheckpoints(bytes.Replace(file, []byte("\n9\n"), []byte("\n8\n"), 1), j.Verifier(), j.origin); err == nil {
		t.Error("an edited checkpoint is taken")
	}
	if _, err := ReadCheckpoints(file, journal(t).Verifier(), j.origin); err == nil {
		t.Error("another key's checkpoint is taken")
	}
	if _, err := ReadCheckpoints(file, j.Verifier(), Origin("other")); err == nil || !strings.Contains(err.Error(), "not of trueup-rollouts-other") {
		t.Errorf("another registry's checkpoint is taken: %v", err)
	}
	if _, err := ReadCheckpoints(file[:len(file)-30], j.Verifier(), j.origin); err == nil {
		t.Error("half a checkpoint is taken")
	}
}

// What the disk does not take is not said to be signed.
func TestAFullDiskIsSaid(t *testing.T) {
	j := journal(t)
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("there is no /dev/full")
	}
	j.path = "/dev/full"
	if err := j.append([]byte("x\n")); err == nil {
		t.Error("a full disk took it")
	}
}
