package report

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/trueup-io/trueup/reconcile/audit"
	"github.com/trueup-io/trueup/schemas"
)

// Most bounds each list of a report; what is more is counted in LeftOut.
const Most = 10_000

// Report is what an audit found. Its JSON form is what is signed.
type Report struct {
	Kind      string    `json:"kind"`    // "audit_report"
	Version   int       `json:"version"` // of this form: 1
	Migration string    `json:"migration"`
	Owner     string    `json:"owner,omitempty"`
	LogID     string    `json:"log"`      // the changes topic's id
	Changes   string    `json:"changes"`  // the changes topic's name
	Program   string    `json:"program"`  // which Trueup audited
	MadeAt    time.Time `json:"made_at"`  // when the audit had ended, UTC
	Verdict   string    `json:"verdict"`  // "faithful", "not_faithful" or "incomplete"
	Because   []string  `json:"because"`  // what the verdict rests on, a sentence each
	Rules     Rules     `json:"rules"`    // what was judged by
	Ranges    []Range   `json:"ranges"`   // by partition
	Compared  Compared  `json:"compared"` // events of divergences
	Keys      Keys      `json:"keys"`     // as the ranges' ends leave them
	Unproven  int64     `json:"unproven"` // changes that may repeat some from too far back to tell
	// Verdicts is the SHA-256 of all divergences as "trueup audit" lists them: another audit of the same log has the same.
	Verdicts string    `json:"verdicts_sha256"`
	Findings []Finding `json:"findings"`
	Damage   []Damage  `json:"damage"`
	Open     []Open    `json:"open"` // divergences that are open at the ranges' ends
	LeftOut  LeftOut   `json:"left_out"`
}

// Rules is what was judged by.
type Rules struct {
	Version    string          `json:"version"`
	Definition json.RawMessage `json:"definition"`
}

// Range is what was judged of a partition: offsets from First to before To, and
// compared from From.
type Range struct {
	Partition int32 `json:"partition"`
	First     int64 `json:"first"`
	From      int64 `json:"from"`
	To        int64 `json:"to"`
}

// Compared counts events of divergences.
type Compared struct {
	Same       int64 `json:"same"`
	Missing    int64 `json:"missing"`
	Extra      int64 `json:"extra"`
	Changed    int64 `json:"changed"`
	Pending    int64 `json:"pending"`
	OtherRules int64 `json:"other_rules"`
}

// Keys counts keys.
type Keys struct {
	Compared int64                    `json:"compared"`
	Equal    int64                    `json:"equal"`
	Diverged int64                    `json:"diverged"`
	Unknown  map[schemas.Reason]int64 `json:"unknown"`
	ByKind   map[schemas.Kind]int64   `json:"by_kind"`
	Closed   int64                    `json:"closed"`
}

// Finding is an event of a divergence that was published otherwise than found.
type Finding struct {
	Class     audit.Class  `json:"class"`
	Partition int32        `json:"partition"`
	Offset    int64        `json:"offset"`
	ID        string       `json:"id"`
	Sequence  uint32       `json:"sequence"`
	Verdict   schemas.Kind `json:"verdict"`
	Entity    string       `json:"entity"`
	Key       []string     `json:"key"`
	Why       string       `json:"why"`
}

// Damage is a promise that the log does not keep.
type Damage struct {
	Promise   string `json:"promise"`
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	Detail    string `json:"detail"`
}

// Open is an open divergence.
type Open struct {
	ID       string       `json:"id"`
	Verdict  schemas.Kind `json:"verdict"`
	Entity   string       `json:"entity"`
	Key      []string     `json:"key"`
	Since    string       `json:"since"`
	OpenedAt string       `json:"opened_at"`
	Fields   []string     `json:"fields"`
}

// LeftOut counts what the lists have no room for.
type LeftOut struct {
	Findings int64 `json:"findings"`
	Damage   int64 `json:"damage"`
	Open     int64 `json:"open"`
}

// About is what an audit itself does not know.
type About struct {
	Rules   *schemas.Rules
	Owner   string
	LogID   string
	Changes string
	Program string
	MadeAt  time.Time
}

// New makes the report of an audit.
func New(a *audit.Audit, about About) (*Report, error) {
	r := &Report{Kind: "audit_report", Version: 1, Migration: about.Rules.Migration, Owner: about.Owner, LogID: about.LogID, Changes: about.Changes,
		Program: about.Program, MadeAt: about.MadeAt.UTC().Truncate(time.Second), Rules: Rules{about.Rules.Version, json.RawMessage(about.Rules.Definition)},
		Unproven: a.Unproven, Findings: []Finding{}, Damage: []Damage{}, Open: []Open{},
		Keys: Keys{a.Summary.Compared, a.Summary.Equal, a.Summary.Diverged, a.Summary.Unknown, a.Summary.ByKind, a.Summary.Closed}}
	for _, at := range a.Ranges {
		r.Ranges = append(r.Ranges, Range{at.Partition, at.First, at.From, at.To})
	}
	n, err := a.Compare(func(f *audit.Finding) error {
		add(&r.Findings, &r.LeftOut.Findings, Finding{f.Class, f.Partition, f.Offset, f.Event.ID, f.Event.Sequence, f.Event.Verdict, f.Event.Entity, f.Event.Key, f.Why})
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.Compared = Compared(n)
	r.LeftOut.Damage = a.MoreDamage
	for _, d := range a.Damage {
		topic := d.Topic
		if topic == "" {
			topic = about.Changes
		}
		add(&r.Damage, &r.LeftOut.Damage, Damage{d.Promise, topic, d.Partition, d.Offset, d.Detail})
	}
	sum := sha256.New()
	err = a.Divergences(func(d *schemas.Divergence) error {
		sum.Write(append(schemas.AppendDivergenceJSON(nil, d), '\n'))
		if d.Stage != schemas.Closed {
			add(&r.Open, &r.LeftOut.Open, Open{d.ID, d.Verdict, d.Entity, d.Key, d.Since.String(), d.OpenedAt.String(), d.Fields})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.Verdicts = hex.EncodeToString(sum.Sum(nil))
	r.judge()
	return r, nil
}

func add[T any](to *[]T, leftOut *int64, one T) {
	if len(*to) < Most {
		*to = append(*to, one)
	} else {
		*leftOut++
	}
}

// The verdicts of an audit.
const (
	Faithful    = "faithful"     // everything that was published follows from the log, and the log keeps its promises
	NotFaithful = "not_faithful" // something does not
	Incomplete  = "incomplete"   // nothing is wrong, and not everything could be checked
)

// judge says what the findings come to.
func (r *Report) judge() {
	say := func(n int64, one, more string) {
		switch {
		case n == 1:
			r.Because = append(r.Because, one)
		case n > 1:
			r.Because = append(r.Because, fmt.Sprintf(more, count(n)))
		}
	}
	r.Because = []string{"No event of a divergence was published that could be compared."}
	if r.Compared.Same > 0 {
		r.Because = nil
		say(r.Compared.Same, "One event of a divergence was published as it follows from the log.", "%s events of divergences were published as they follow from the log.")
	}
	say(r.Compared.Missing, "One event follows from the log and was not published.", "%s events follow from the log and were not published.")
	say(r.Compared.Extra, "One event was published and does not follow from the log.", "%s events were published and do not follow from the log.")
	say(r.Compared.Changed, "One event was published with other contents than follow from the log.", "%s events were published with other contents than follow from the log.")
	say(int64(len(r.Damage))+r.LeftOut.Damage, "The log breaks its own promises at one place.", "The log breaks its own promises at %s places.")
	r.Verdict = Faithful
	wrong := r.Compared.Missing + r.Compared.Extra + r.Compared.Changed + int64(len(r.Damage))
	before := len(r.Because)
	say(r.Compared.Pending, "One event was not published yet, where the comparison had not come so far.", "%s events were not published yet, where the comparison had not come so far.")
	say(r.Compared.OtherRules, "One event was published under other rules, by which this audit did not judge.", "%s events were published under other rules, by which this audit did not judge.")
	say(r.Unproven, "One change may repeat an earlier one from too far back to tell.", "%s changes may repeat earlier ones from too far back to tell.")
	for _, at := range r.Ranges {
		if at.First > 0 {
			r.Because = append(r.Because, "The beginning of the log is gone, by retention: what rested on it could not be judged.")
			break
		}
	}
	switch {
	case wrong > 0:
		r.Verdict = NotFaithful
	case len(r.Because) > before || r.Keys.Compared == 0:
		r.Verdict = Incomplete
	}
}
