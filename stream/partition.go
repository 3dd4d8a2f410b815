package stream

import "fmt"

// Partition returns the partition of a key among n partitions. It is part of the
// format: a key's two histories meet only if everybody who writes to a topic uses
// this function. It panics if n < 1.
//
// The function is FNV-1a over the key's bytes, 64 bits, mixed by the finaliser of
// MurmurHash3 (FNV alone spreads short keys badly over small n), modulo n, all in
// unsigned 64-bit arithmetic that wraps:
//
//	h = 0xcbf29ce484222325
//	for each byte b: h = (h XOR b) * 0x100000001b3
//	h = (h XOR (h >> 33)) * 0xff51afd7ed558ccd
//	h = (h XOR (h >> 33)) * 0xc4ceb9fe1a85ec53
//	h =  h XOR (h >> 33)
//	partition = h mod n
//
// Test vectors are in testdata/partition.tsv.
func Partition(key []byte, n int) int32 {
	if n < 1 {
		panic(fmt.Sprintf("stream: %d partitions", n))
	}
	return int32(hash(key) % uint64(n))
}

func hash(key []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, b := range key {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}
