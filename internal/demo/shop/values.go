package shop

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Texts that have hurt somebody: beyond the basic plane, from right to left,
// joined, composed and decomposed, with quotes, backslashes, and spaces at the
// end.
var (
	customers = []string{"Ada Lovelace", "Zoë Müller", "O'Brien & Sons", "李小龍", "Łukasz Żółć", "محمد علي", "Søren 🚲",
		`Backslash \n Ltd.`, "Jose\u0301 (decomposed)", "José (composed)", "Ünal \"Quote\" Öz", "👩‍👩‍👧‍👦 Family", "trailing space ", "ЯНДЕКС", "Ńguyễn Thị"}
	notes = []string{"", "leave at the door", "🎁 gift wrap, please 🎉", "ring twice\nthen wait", "tab\there", "50% off — \"staff\"",
		"it's a 'surprise'", `C:\orders\new`, "نهاية", "日本語のメモ", "ends with a space ", "𝒻𝒶𝓃𝒸𝓎", "NULL", "0", "-- ; drop table"}
	states   = []string{"new", "paid", "packed", "shipped", "delivered", "returned", "on hold"}
	channels = []string{"web", "app", "phone", "café ☕"}
	services = []string{"checkout", "billing", "warehouse", "support"}
)

// values draws what orders are made of.
type values struct{ *rand.Rand }

func newValues(seed int64, stream uint64) values {
	return values{rand.New(rand.NewPCG(uint64(seed), stream))}
}

func pick[T any](v values, from []T) T { return from[v.IntN(len(from))] }

// amount is mostly a small one, sometimes none, negative, or as large as the
// column holds.
func (v values) amount() Cents {
	switch v.IntN(40) {
	case 0:
		return 0
	case 1:
		return -Cents(v.IntN(10_000)) - 1
	case 2:
		return 999_999_999_999 - Cents(v.IntN(100))
	}
	return Cents(v.IntN(50_000)) + 1
}

func (v values) note() *string {
	if v.IntN(3) == 0 {
		return nil
	}
	note := pick(v, notes)
	return &note
}

func (v values) details() string {
	return fmt.Sprintf(`{"channel": %s, "weight_kg": %d.%d, "items": [%d, %d], "express": %t, "ref": null}`,
		strconv.Quote(pick(v, channels)), v.IntN(20), v.IntN(10), v.IntN(9), v.IntN(9), v.IntN(2) == 0)
}

var openingDay = time.Date(2026, 1, 5, 8, 0, 0, 0, time.UTC)

// order is a new order: fresh draws what can change later.
func (v values) order(id int64) Order {
	return v.fresh(Order{
		ID: id, Customer: pick(v, customers),
		Placed: openingDay.Add(time.Duration(v.Int64N(int64(300 * 24 * time.Hour)))).Truncate(time.Microsecond),
	})
}

// fresh redraws everything of an order that can change.
func (v values) fresh(o Order) Order {
	o.State, o.Amount, o.Gift, o.Details, o.Note = pick(v, states), v.amount(), v.IntN(5) == 0, v.details(), v.note()
	return o
}

func (v values) line(order int64, no int) Line {
	return Line{Order: order, No: no, SKU: fmt.Sprintf("SKU-%04d-%c", v.IntN(10_000), 'A'+rune(v.IntN(26))),
		Qty: 1 + v.IntN(12), Price: 1 + Cents(v.IntN(20_000))}
}

func (v values) lines(order int64, n int) []Line {
	lines := make([]Line, n)
	for i := range lines {
		lines[i] = v.line(order, i+1)
	}
	return lines
}

// tag is a new request's: a write id of its writer, and a trace.
func (v values) tag(writer, n int) Tag {
	return Tag{
		WriteID:     fmt.Sprintf("w%d-%06d", writer, n),
		Traceparent: fmt.Sprintf("00-%016x%016x-%016x-01", v.Uint64(), v.Uint64(), v.Uint64()),
		Service:     pick(v, services),
	}
}

// degraded is a note as a store with three-byte UTF-8 would have kept it.
func degraded(note string) string {
	return strings.Map(func(r rune) rune {
		if r > 0xFFFF {
			return '?'
		}
		return r
	}, note)
}
