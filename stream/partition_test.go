package stream

import (
	"bufio"
	"encoding/hex"
	"os"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// "our own stable documented hash": the vectors are what other clients test against,
// so they never change.
func TestI5_PartitionVectors(t *testing.T) {
	f, err := os.Open("testdata/partition.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	n := 0
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") {
			continue
		}
		col := strings.Split(line, "\t")
		key, err := hex.DecodeString(col[0])
		if err != nil {
			t.Fatal(err)
		}
		if got := strconv.FormatUint(hash(key), 16); got != col[1] {
			t.Errorf("hash(%x) = %s, want %s", key, got, col[1])
		}
		for i, parts := range []int{1, 3, 8, 64} {
			if got := strconv.Itoa(int(Partition(key, parts))); got != col[2+i] {
				t.Errorf("Partition(%x, %d) = %s, want %s", key, parts, got, col[2+i])
			}
		}
		n++
	}
	if err := lines.Err(); err != nil || n < 8 {
		t.Fatalf("%d vectors, %v", n, err)
	}
}

// "a key never changes partition within an epoch", and every partition gets its share
// of keys that count up, which is what keys do.
func TestI5_PartitionSpreads(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 8, 16, 100} {
		count := make([]int, n)
		const keys = 100_000
		for i := range keys {
			count[Partition([]byte(strconv.Itoa(i)), n)]++
		}
		for p, c := range count {
			if want := keys / n; c < want*8/10 || c > want*12/10 {
				t.Errorf("partition %d of %d got %d of %d keys", p, n, c, keys)
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.SliceOf(rapid.Byte()).Draw(t, "key")
		n := rapid.IntRange(1, 1000).Draw(t, "n")
		if p := Partition(key, n); p < 0 || int(p) >= n || p != Partition(append([]byte(nil), key...), n) {
			t.Fatalf("partition %d of %d", p, n)
		}
	})
}
