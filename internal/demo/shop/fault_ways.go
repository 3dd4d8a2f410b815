package shop

import (
	"github.com/trueup-io/trueup/schemas"
)

// faultWays are the ways in which each kind comes about. They are taken in turn.
var faultWays = map[schemas.Kind][]func(*scene) *Fault{
	schemas.Missing:     {orderNeverSent, orderAndLinesNeverSent, lineNeverSent},
	schemas.Stale:       {updateNeverSent, deleteNeverSent, lineUpdateNeverSent, twoUpdatesNeverSent},
	schemas.Mismatch:    {wrongAmount, lostEmoji, insertedOtherwise, linePriceRounded},
	schemas.Reordered:   {overtaken},
	schemas.Rogue:       {updatedByHand, insertedByHand, deletedByHand, lineDeletedByHand},
	schemas.Resurrected: {retriedAfterDelete, rewrittenAfterDelete},
	schemas.Torn:        {insertTorn, updateTorn},
}

func orderNeverSent(s *scene) *Fault {
	tag, o := s.request(), s.order(s.ids.take())
	return &Fault{Story: "the process died between its two writes: a new order never reached the target", Tag: tag,
		Expect: []Key{orderKey(o.ID)}, acts: []act{s.legacy(tag, putOrder{o})}}
}

func orderAndLinesNeverSent(s *scene) *Fault {
	tag, o := s.request(), s.order(s.ids.take())
	return &Fault{Story: "a new order and its lines never reached the target", Tag: tag,
		Expect: []Key{orderKey(o.ID), lineKey(o.ID, 1), lineKey(o.ID, 2)},
		acts:   []act{s.legacy(tag, putOrder{o}, putLines{s.lines(o.ID, 2)})}}
}

func lineNeverSent(s *scene) *Fault {
	tag := s.request()
	o, lines, opening := s.open(2)
	no := len(lines) + 1
	return &Fault{Story: "a line added to an order never reached the target", Tag: tag, opening: opening,
		Expect: []Key{lineKey(o.ID, no)}, acts: []act{s.legacy(tag, putLines{[]Line{s.line(o.ID, no)}})}}
}

func updateNeverSent(s *scene) *Fault {
	tag := s.request()
	o, _, opening := s.open(1)
	return &Fault{Story: "an update timed out on the target and was never tried again", Tag: tag, opening: opening,
		Expect: []Key{orderKey(o.ID)}, acts: []act{s.legacy(tag, setOrder{s.other(o)})}}
}

func deleteNeverSent(s *scene) *Fault {
	tag := s.request()
	o, _, opening := s.open(0)
	return &Fault{Story: "a deletion never reached the target", Tag: tag, opening: opening,
		Expect: []Key{orderKey(o.ID)}, acts: []act{s.legacy(tag, dropOrder{o.ID})}}
}

func lineUpdateNeverSent(s *scene) *Fault {
	tag := s.request()
	_, lines, opening := s.open(2)
	l := lines[1]
	l.Qty++
	return &Fault{Story: "an update of one line never reached the target", Tag: tag, opening: opening,
		Expect: []Key{lineKey(l.Order, l.No)}, acts: []act{s.legacy(tag, setLine{l})}}
}

func twoUpdatesNeverSent(s *scene) *Fault {
	first, second := s.request(), s.request()
	o, _, opening := s.open(0)
	one := s.other(o)
	two := s.other(one)
	for two.State == o.State {
		two = s.other(one)
	}
	return &Fault{Story: "two updates in a row never reached the target", Tag: first, opening: opening,
		Expect: []Key{orderKey(o.ID)}, acts: []act{s.legacy(first, setOrder{one}), s.legacy(second, setOrder{two})}}
}

// both is a write that reaches both sides, with other values on the target.
func both(s *scene, tag Tag, right, wrong Step) ([]act, int) {
	return []act{s.legacy(tag, right), s.target(tag, wrong)}, 1
}

func wrongAmount(s *scene) *Fault {
	tag := s.request()
	o, _, opening := s.open(0)
	right := s.other(o)
	wrong := right
	wrong.Amount++
	f := &Fault{Story: "the target's code rounds the amount up by a cent", Tag: tag, opening: opening, Expect: []Key{orderKey(o.ID)}}
	f.acts, f.due = both(s, tag, setOrder{right}, setOrder{wrong})
	return f
}

func lostEmoji(s *scene) *Fault {
	tag := s.request()
	o, _, opening := s.open(0)
	right := s.other(o)
	note := "🎁 " + pick(s.values, notes)
	right.Note = &note
	wrong := right
	lost := degraded(note)
	wrong.Note = &lost
	f := &Fault{Story: "the target's connection speaks three-byte UTF-8: the emoji became a question mark", Tag: tag,
		opening: opening, Expect: []Key{orderKey(o.ID)}}
	f.acts, f.due = both(s, tag, setOrder{right}, setOrder{wrong})
	return f
}

func insertedOtherwise(s *scene) *Fault {
	tag, right := s.request(), s.order(s.ids.take())
	wrong := right
	wrong.Gift = !right.Gift
	f := &Fault{Story: "a new order was inserted with another default on the target", Tag: tag, Expect: []Key{orderKey(right.ID)}}
	f.acts, f.due = both(s, tag, putOrder{right}, putOrder{wrong})
	return f
}

func linePriceRounded(s *scene) *Fault {
	tag := s.request()
	_, lines, opening := s.open(1)
	right := s.line(lines[0].Order, lines[0].No)
	right.Price = right.Price/100*100 + 49
	wrong := right
	wrong.Price = right.Price / 100 * 100
	f := &Fault{Story: "the target's code rounds the price of a line", Tag: tag, opening: opening,
		Expect: []Key{lineKey(right.Order, right.No)}}
	f.acts, f.due = both(s, tag, setLine{right}, setLine{wrong})
	return f
}

// overtaken is two writers without a lock: the one that was first on the legacy
// store is last on the target.
func overtaken(s *scene) *Fault {
	first, second := s.request(), s.request()
	o, _, opening := s.open(0)
	one := s.other(o)
	two := s.other(one)
	for two.State == o.State {
		two = s.other(one)
	}
	return &Fault{Story: "two writers raced: the target kept the one that came first on the legacy store", Tag: first,
		opening: opening, Expect: []Key{orderKey(o.ID)}, due: 3,
		acts: []act{s.legacy(first, setOrder{one}), s.legacy(second, setOrder{two}),
			s.target(second, setOrder{two}), s.target(first, setOrder{one})}}
}

func updatedByHand(s *scene) *Fault {
	o, _, opening := s.open(0)
	o = s.other(o)
	return &Fault{Story: "somebody corrected an order on the target by hand", opening: opening,
		Expect: []Key{orderKey(o.ID)}, acts: []act{s.target(Tag{}, setOrder{o})}}
}

func insertedByHand(s *scene) *Fault {
	o := s.order(s.ids.take())
	return &Fault{Story: "somebody inserted an order on the target by hand", Expect: []Key{orderKey(o.ID)},
		acts: []act{s.target(Tag{}, putOrder{o})}}
}

func deletedByHand(s *scene) *Fault {
	o, _, opening := s.open(0)
	return &Fault{Story: "somebody deleted an order on the target by hand", opening: opening,
		Expect: []Key{orderKey(o.ID)}, acts: []act{s.target(Tag{}, dropOrder{o.ID})}}
}

func lineDeletedByHand(s *scene) *Fault {
	o, _, opening := s.open(1)
	return &Fault{Story: "somebody deleted a line on the target by hand", opening: opening,
		Expect: []Key{lineKey(o.ID, 1)}, acts: []act{s.target(Tag{}, dropLines{o.ID, 1})}}
}

// retriedAfterDelete is a queue that delivers a write again after the order was
// deleted on both sides, long ago.
func retriedAfterDelete(s *scene) *Fault {
	o, _, opening := s.open(0)
	again := opening[0].Tag
	opening = append(opening, Write{Tag: s.request(), Steps: []Step{dropOrder{o.ID}}})
	return &Fault{Story: "a queue delivered a write again, after the order had been deleted on both sides", Tag: again,
		opening: opening, Expect: []Key{orderKey(o.ID)}, acts: []act{s.target(again, putOrder{o})}}
}

// rewrittenAfterDelete is an upsert that was under way while the order was
// deleted.
func rewrittenAfterDelete(s *scene) *Fault {
	deleted, late := s.request(), s.request()
	o, _, opening := s.open(0)
	f := &Fault{Story: "a late upsert brought a deleted order back on the target", Tag: late, opening: opening,
		Expect: []Key{orderKey(o.ID)}, due: 2,
		acts: []act{s.legacy(deleted, dropOrder{o.ID}), s.target(deleted, dropOrder{o.ID}), s.target(late, putOrder{s.other(o)})}}
	f.acts[2].pause = s.moment()
	return f
}

// insertTorn is a new order of which the target kept the beginning.
func insertTorn(s *scene) *Fault {
	tag, o := s.request(), s.order(s.ids.take())
	lines := s.lines(o.ID, 3)
	return &Fault{Story: "the target committed an order and its first line, then the connection broke", Tag: tag,
		Expect: []Key{lineKey(o.ID, 2), lineKey(o.ID, 3)},
		acts: []act{s.legacy(tag, putOrder{o}, putLines{lines}),
			s.target(tag, putOrder{o}, putLines{lines[:1]})}}
}

// updateTorn is an update of an order and its lines of which the target kept the
// order's part.
func updateTorn(s *scene) *Fault {
	tag := s.request()
	o, lines, opening := s.open(2)
	one, two := lines[0], lines[1]
	one.Qty++
	two.Qty++
	after := s.other(o)
	return &Fault{Story: "the target committed the update of an order without those of its lines", Tag: tag, opening: opening,
		Expect: []Key{lineKey(o.ID, 1), lineKey(o.ID, 2)},
		acts: []act{s.legacy(tag, setOrder{after}, setLine{one}, setLine{two}),
			s.target(tag, setOrder{after})}}
}
