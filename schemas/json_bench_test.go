package schemas

import (
	"bytes"
	"io"
	"testing"
)

func BenchmarkAppendJSONLine(b *testing.B) {
	r := benchmarkRecord()
	buf := AppendJSONLine(nil, r)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendJSONLine(buf[:0], r)
	}
}

func BenchmarkParseJSONLine(b *testing.B) {
	buf := AppendJSONLine(nil, benchmarkRecord())
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseJSONLine(buf); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseJSONLineOfContract(b *testing.B) {
	line := []byte(`{"kind":"change","side":"legacy","entity":"order","key":["42"],"op":"insert","source":"pg-main","epoch":1,"pos":"0000000001A4C5A0","ordinal":0,"txn":"771","commit_ts":"2026-11-23T10:00:00.000123Z","after":{"id":"42","status":"new","amount":"10.50","note":null},"tag":{"write_id":"w-1","traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}`)
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseJSONLine(line); err != nil {
			b.Fatal(err)
		}
	}
}

// One op reads a whole file of 1000 lines: what a replay pays before it judges.
func BenchmarkLineReaderOf1000(b *testing.B) {
	var file bytes.Buffer
	w := NewLineWriter(&file, 1)
	for range 999 {
		if err := w.Write(benchmarkRecord()); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.End(); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(file.Len()))
	b.ReportAllocs()
	for b.Loop() {
		r := NewLineReader(bytes.NewReader(file.Bytes()), 0)
		var err error
		for err == nil {
			_, err = r.Next()
		}
		if err != io.EOF { //nolint:errorlint // Next promises this very value
			b.Fatal(err)
		}
	}
}
