package spans

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/trueup-io/trueup/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEndpoints(t *testing.T) {
	for text, want := range map[string]string{
		"http://127.0.0.1:4318":      "http://127.0.0.1:4318/v1/traces",
		"https://otel.example/":      "https://otel.example/v1/traces",
		"https://otel.example/other": "https://otel.example/other",
		"127.0.0.1:4318":             "", "file:///etc/passwd": "", "http://": "", "": "",
	} {
		if got, err := endpointOf(text); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v, want %q", text, got, err, want)
		}
	}
}

// A write without a traceparent has its divergence in a trace of its own, whose
// id is the divergence's; what is told again has the same ids.
func TestTracesOfTheirOwn(t *testing.T) {
	d := &schemas.Divergence{ID: "6c19e6390c486c19e6390c486c19e639"}
	parent, own := parentOf(d)
	if parent.IsValid() || own.String() != d.ID {
		t.Errorf("under %v in %s", parent, own)
	}
	d.Cause = &schemas.Evidence{Tag: schemas.Tag{Traceparent: "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01"}}
	if parent, own := parentOf(d); parent.IsValid() || own.String() != d.ID {
		t.Errorf("a span id of zeros: under %v in %s", parent, own)
	}
	if spanID("verdict", "a") == spanID("verdict", "b") || spanID("verdict", "a") == spanID("repair", "a") {
		t.Error("two spans have the same id")
	}
	if a, again := spanID("verdict", "a"), spanID("verdict", strings.Clone("a")); a != again {
		t.Errorf("the id of one span is %s, and %s", a, again)
	}
}

func TestRecentIsBounded(t *testing.T) {
	r := newRecent()
	for i := range 5 * maxRecent {
		r.add(schemas.EventID{Ordinal: uint32(i)}, time.UnixMicro(int64(i)))
	}
	if n := len(r.now) + len(r.before); n > 2*maxRecent {
		t.Errorf("%d are remembered", n)
	}
	if at, ok := r.get(schemas.EventID{Ordinal: 5*maxRecent - 1}); !ok || at.UnixMicro() != 5*maxRecent-1 {
		t.Error("the latest is forgotten")
	}
}

// The memory of a record that was seen is used again.
func TestSeenKeepsNothingOfARecord(t *testing.T) {
	id := schemas.EventID{Source: "orders-legacy", Epoch: 1, Pos: "0000000000000010"}
	b := schemas.AppendRecord(nil, &schemas.Record{Change: &schemas.Change{EventID: id, Side: schemas.Legacy, Entity: "order", Key: []string{"1"},
		Op: schemas.OpInsert, After: schemas.Row{}, Tag: schemas.Tag{Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}})
	r, err := new(schemas.Decoder).Unmarshal(b)
	if err != nil {
		t.Fatal(err)
	}
	s := &Spans{written: newRecent()}
	at := time.UnixMicro(5)
	s.Seen(r, at)
	clear(b)
	if got, ok := s.written.get(id); !ok || !got.Equal(at) {
		t.Errorf("when it came to the log is not known any more: %v", got)
	}
}
