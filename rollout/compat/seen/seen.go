// Package seen watches who uses which version of a contract, in the process that answers it.
//
// It promises that what it writes says everything that it was asked: each consumer and version with
// when it was seen last, and from when to when it watched. Where it could not keep all of them it says
// that (partial), so that nothing is taken for unused that was only not kept.
//
// It assumes that whoever asks says who it is and which version it uses, in headers; who says nothing
// is seen as that. Lines of several processes, and of one that is started anew, are collected by
// somebody: what a process has seen is gone with it.
//
//	requests ─► Handler ─► Recorder ─► WriteTo, or ServeHTTP ─► trueup rollout plan --consumers
package seen

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/trueup-io/trueup/rollout/compat"
)

// Defaults of a recorder.
const (
	DefaultConsumerHeader = "X-Client-Name"
	DefaultVersionHeader  = "X-API-Version"
	DefaultMost           = 10_000

	maxName = 256
	// Anonymous is a consumer that does not say who it is.
	Anonymous = "anonymous"
)

// Config says what is watched. Contract is required.
type Config struct {
	Contract string
	// ConsumerHeader and VersionHeader are where requests say who asks, and which version it uses.
	ConsumerHeader, VersionHeader string
	// Most is how many pairs of a consumer and a version are kept; 0: DefaultMost. A pair takes some hundred bytes.
	Most int
	// Now is the clock; nil: the machine's.
	Now func() time.Time
}

// Recorder keeps what was seen. It is for use by several goroutines.
type Recorder struct {
	cfg  Config
	from time.Time

	mu      sync.Mutex
	last    map[pair]*use
	partial bool // something was not kept
}

type pair struct{ consumer, version string }

type use struct {
	at       time.Time
	requests uint64
}

// New begins to watch.
func New(cfg Config) *Recorder {
	cfg.ConsumerHeader = cmp.Or(cfg.ConsumerHeader, DefaultConsumerHeader)
	cfg.VersionHeader = cmp.Or(cfg.VersionHeader, DefaultVersionHeader)
	cfg.Most = cmp.Or(cfg.Most, DefaultMost)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Recorder{cfg: cfg, from: cfg.Now(), last: map[pair]*use{}}
}

// Handler has next answer, and sees who asked.
func (r *Recorder) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.See(q.Header.Get(r.cfg.ConsumerHeader), q.Header.Get(r.cfg.VersionHeader))
		next.ServeHTTP(w, q)
	})
}

// See notes a use. An empty consumer is Anonymous, an empty version one that was not said.
func (r *Recorder) See(consumer, version string) {
	key := pair{cmp.Or(named(consumer), Anonymous), named(version)}
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.last[key]
	if u == nil {
		if len(r.last) >= r.cfg.Most {
			r.partial = true
			return
		}
		u = &use{}
		r.last[key] = u
	}
	u.at = r.cfg.Now()
	u.requests++
}

// named is a name of bounded length, on a line.
func named(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), "\uFFFD")
	if len(text) > maxName {
		text = strings.ToValidUTF8(text[:maxName], "")
	}
	return strings.Clone(text) // not the request's memory
}

// WriteTo writes what was seen up to now, as JSON Lines.
func (r *Recorder) WriteTo(to io.Writer) (int64, error) {
	r.mu.Lock()
	now := r.cfg.Now().UTC()
	lines := []compat.Seen{{Kind: compat.KindObserved, Contract: r.cfg.Contract, From: r.from.UTC(), To: now, Partial: r.partial}}
	for key, u := range r.last {
		lines = append(lines, compat.Seen{Kind: compat.KindConsumer, Contract: r.cfg.Contract, Consumer: key.consumer, Version: key.version, LastSeen: u.at.UTC(), Requests: u.requests})
	}
	r.mu.Unlock()
	slices.SortFunc(lines[1:], func(a, b compat.Seen) int {
		return cmp.Or(cmp.Compare(a.Consumer, b.Consumer), cmp.Compare(a.Version, b.Version))
	})
	var b bytes.Buffer
	for i := range lines {
		if err := json.NewEncoder(&b).Encode(&lines[i]); err != nil {
			return 0, err
		}
	}
	return b.WriteTo(to)
}

// ServeHTTP answers with what was seen. Whoever mounts it says who may ask.
func (r *Recorder) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jsonl; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = r.WriteTo(w) // the client may have gone
}
