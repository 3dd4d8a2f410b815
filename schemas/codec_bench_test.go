package schemas

import (
	"fmt"
	"testing"
)

// benchmarkRecord is an update of an ordinary table of 12 columns with both
// images, about what the log holds most of.
func benchmarkRecord() *Record {
	row := func(n int) Row {
		var row Row
		for i := range 12 {
			row = append(row, Column{Name: fmt.Sprintf("column_%02d", i), Text: fmt.Sprintf("some text %d/%d", n, i)})
		}
		row[11] = Column{Name: "column_11", Presence: Null}
		return row
	}
	r := exampleChange()
	r.Change.Before, r.Change.After = row(1), row(2)
	r.Change.Tag.Traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	return r
}

func BenchmarkAppendRecord(b *testing.B) {
	r := benchmarkRecord()
	buf := AppendRecord(nil, r)
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendRecord(buf[:0], r)
	}
}

func BenchmarkUnmarshalRecord(b *testing.B) {
	buf := AppendRecord(nil, benchmarkRecord())
	b.SetBytes(int64(len(buf)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := UnmarshalRecord(buf); err != nil {
			b.Fatal(err)
		}
	}
}
