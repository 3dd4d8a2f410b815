package demo

import (
	"time"

	"github.com/trueup-io/trueup/internal/demo/shop"
	"github.com/trueup-io/trueup/schemas"
)

// judgement is what the demo makes of a divergence that it hears of.
type judgement uint8

const (
	foundPlanted judgement = iota // a planted fault, at its key, with its kind
	foundLate                     // a legitimate write really kept the other side waiting for too long
	foundFalse                    // nothing of the kind was planted there
)

// finding is one divergence as the demo shows it: what it was when it was
// opened, and what became of it. It is a value; copies may be kept.
type finding struct {
	schemas.Divergence // as opened
	judgement          judgement
	story              string // of the fault, where it was planted
	openedAt           time.Time
	healedAt           time.Time // zero while it is open

	compensation schemas.Compensation // the latest one; zero where none was heard of
	outcome      schemas.Outcome      // its latest
}

func (f *finding) key() shop.Key { return shop.Key{Entity: f.Entity, Key: f.Divergence.Key} }

func (f *finding) healed() bool { return !f.healedAt.IsZero() }
