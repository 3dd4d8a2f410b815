package schemas

import (
	"math"
	"slices"
)

// AppendSummaryJSON appends s as one line of JSON, without a line feed. Of
// "unknown" lag and no_data always stand, of "by_kind" what was found.
func AppendSummaryJSON(dst []byte, s *Summary) []byte {
	o := openObject(dst)
	o.text("kind", "summary")
	o.number("compared", s.Compared)
	o.number("equal", s.Equal)
	o.number("diverged", s.Diverged)
	o.field("unknown")
	unknown := openObject(o.dst)
	for _, reason := range Reasons {
		if n := s.Unknown[reason]; n != 0 || reason == Lag || reason == NoData {
			unknown.number(string(reason), n)
		}
	}
	o.dst = unknown.close()
	o.field("by_kind")
	found := openObject(o.dst)
	for _, kind := range Kinds {
		if n := s.ByKind[kind]; n != 0 {
			found.number(string(kind), n)
		}
	}
	o.dst = found.close()
	o.number("closed", s.Closed)
	return o.close()
}

var summaryFields = newFieldSet("kind!", "compared!", "equal!", "diverged!", "unknown!", "by_kind!", "closed!")

// ParseSummaryJSON reads what AppendSummaryJSON writes, as strictly as
// ParseJSONLine. Counts of zero are not in its maps.
func ParseSummaryJSON(line []byte) (*Summary, error) {
	if len(line) > MaxRecordBytes {
		return nil, decodeError(line, "more than %d bytes", MaxRecordBytes)
	}
	r := jsonReader{src: string(line)}
	if kind := r.kind(); kind != "summary" {
		r.fail("kind %q: want summary", kind)
	}
	s := r.summary()
	r.end()
	if r.problem != nil {
		return nil, decodeError(line, "%s", r.problem)
	}
	return s, nil
}

func (r *jsonReader) summary() *Summary {
	s := new(Summary)
	fields := fieldCursor{set: summaryFields}
	for r.field(&fields) {
		switch fields.name {
		case "kind":
			r.word()
		case "compared":
			s.Compared = r.count()
		case "equal":
			s.Equal = r.count()
		case "diverged":
			s.Diverged = r.count()
		case "unknown":
			s.Unknown = readCounts(r, Reasons)
		case "by_kind":
			s.ByKind = readCounts(r, Kinds)
		case "closed":
			s.Closed = r.count()
		}
	}
	return s
}

func (r *jsonReader) count() int64 { return r.integer(0, math.MaxInt64) }

// readCounts reads an object of counts by one of the words.
func readCounts[W ~string](r *jsonReader, words []W) map[W]int64 {
	counts := map[W]int64{}
	var names nameCursor
	for r.named(&names) {
		word := W(names.name)
		if !slices.Contains(words, word) {
			r.fail("want one of %q", words)
			continue
		}
		if n := r.count(); n != 0 {
			counts[word] = n
		}
	}
	return counts
}
