package shop

import (
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Step is one statement of a write: the same in the words of either store.
type Step interface {
	legacy(b *pgx.Batch)
	target(database string) (statement string, args []any)
	// rows is how many rows it changes.
	rows() int
	// orders are the orders that it touches.
	orders() []int64
}

// Write is what the application does to its data in one transaction on each
// side.
type Write struct {
	Tag         Tag
	Steps       []Step
	TargetFirst bool
	Aborted     bool // rolled back on both sides: nobody must ever hear of it
}

// orders are the orders that the write touches, each once, in order.
func (w *Write) orders() []int64 {
	var ids []int64
	for _, s := range w.Steps {
		ids = append(ids, s.orders()...)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Rows is how many rows the write changes on one side.
func (w *Write) Rows() int {
	if w.Aborted {
		return 0
	}
	n := 0
	for _, s := range w.Steps {
		n += s.rows()
	}
	return n
}

const placedLayout = "2006-01-02 15:04:05.000000"

// putOrder inserts an order. On the target it is an upsert, as in every dual
// writer that was ever retried.
type putOrder struct{ order Order }

func (s putOrder) rows() int { return 1 }

func (s putOrder) orders() []int64 { return []int64{s.order.ID} }

func (s putOrder) legacy(b *pgx.Batch) {
	o := &s.order
	b.Queue(`insert into public.orders (id, customer, state, amount, placed, gift, details, note)
		values ($1, $2, $3, $4::text::numeric, $5, $6, $7::text::jsonb, $8)`,
		o.ID, o.Customer, o.State, o.Amount.String(), o.Placed, o.Gift, o.Details, o.Note)
}

func (s putOrder) target(database string) (string, []any) {
	o := &s.order
	return `insert into ` + database + `.orders (id, customer_name, status, amount, placed_at, is_gift, details, note)
		values (?, ?, ?, ?, ?, ?, ?, ?)
		on duplicate key update customer_name = values(customer_name), status = values(status), amount = values(amount),
			placed_at = values(placed_at), is_gift = values(is_gift), details = values(details), note = values(note)`,
		[]any{o.ID, o.Customer, o.State, o.Amount.String(), o.Placed.Format(placedLayout), o.Gift, o.Details, text(o.Note)}
}

// setOrder rewrites everything of an order that can change.
type setOrder struct{ order Order }

func (s setOrder) rows() int { return 1 }

func (s setOrder) orders() []int64 { return []int64{s.order.ID} }

func (s setOrder) legacy(b *pgx.Batch) {
	o := &s.order
	b.Queue(`update public.orders set state = $2, amount = $3::text::numeric, gift = $4, details = $5::text::jsonb, note = $6
		where id = $1`, o.ID, o.State, o.Amount.String(), o.Gift, o.Details, o.Note)
}

func (s setOrder) target(database string) (string, []any) {
	o := &s.order
	return `update ` + database + `.orders set status = ?, amount = ?, is_gift = ?, details = ?, note = ? where id = ?`,
		[]any{o.State, o.Amount.String(), o.Gift, o.Details, text(o.Note), o.ID}
}

// setStates moves several orders to a state at once.
type setStates struct {
	ids   []int64
	state string
}

func (s setStates) rows() int { return len(s.ids) }

func (s setStates) orders() []int64 { return s.ids }

func (s setStates) legacy(b *pgx.Batch) {
	b.Queue(`update public.orders set state = $1 where id = any($2)`, s.state, s.ids)
}

func (s setStates) target(database string) (string, []any) {
	args := []any{s.state}
	for _, id := range s.ids {
		args = append(args, id)
	}
	return `update ` + database + `.orders set status = ? where id in (` + places(len(s.ids)) + `)`, args
}

// dropOrder deletes an order, without its lines.
type dropOrder struct{ id int64 }

func (s dropOrder) rows() int { return 1 }

func (s dropOrder) orders() []int64 { return []int64{s.id} }

func (s dropOrder) legacy(b *pgx.Batch) { b.Queue(`delete from public.orders where id = $1`, s.id) }

func (s dropOrder) target(database string) (string, []any) {
	return `delete from ` + database + `.orders where id = ?`, []any{s.id}
}

// putLines inserts lines of one order in one statement.
type putLines struct{ lines []Line }

func (s putLines) rows() int { return len(s.lines) }

func (s putLines) orders() []int64 { return []int64{s.lines[0].Order} }

func (s putLines) legacy(b *pgx.Batch) {
	var orders []int64
	var nos, qtys []int
	var skus, prices []string
	for _, l := range s.lines {
		orders, nos, skus = append(orders, l.Order), append(nos, l.No), append(skus, l.SKU)
		qtys, prices = append(qtys, l.Qty), append(prices, l.Price.String())
	}
	b.Queue(`insert into public.order_lines (order_id, line_no, sku, qty, price)
		select o, n, s, q, p::numeric from unnest($1::bigint[], $2::int[], $3::text[], $4::int[], $5::text[]) as l(o, n, s, q, p)`,
		orders, nos, skus, qtys, prices)
}

func (s putLines) target(database string) (string, []any) {
	var args []any
	for _, l := range s.lines {
		args = append(args, l.Order, l.No, l.SKU, l.Qty, l.Price.String())
	}
	return `insert into ` + database + `.order_lines (order_id, line, sku, quantity, unit_price)
		values (?, ?, ?, ?, ?)` + strings.Repeat(`, (?, ?, ?, ?, ?)`, len(s.lines)-1) + `
		on duplicate key update sku = values(sku), quantity = values(quantity), unit_price = values(unit_price)`, args
}

// setLine rewrites a line.
type setLine struct{ line Line }

func (s setLine) rows() int { return 1 }

func (s setLine) orders() []int64 { return []int64{s.line.Order} }

func (s setLine) legacy(b *pgx.Batch) {
	l := &s.line
	b.Queue(`update public.order_lines set sku = $3, qty = $4, price = $5::text::numeric where order_id = $1 and line_no = $2`,
		l.Order, l.No, l.SKU, l.Qty, l.Price.String())
}

func (s setLine) target(database string) (string, []any) {
	l := &s.line
	return `update ` + database + `.order_lines set sku = ?, quantity = ?, unit_price = ? where order_id = ? and line = ?`,
		[]any{l.SKU, l.Qty, l.Price.String(), l.Order, l.No}
}

// dropLines deletes the lines of an order; n says how many there are.
type dropLines struct {
	order int64
	n     int
}

func (s dropLines) rows() int { return s.n }

func (s dropLines) orders() []int64 { return []int64{s.order} }

func (s dropLines) legacy(b *pgx.Batch) {
	b.Queue(`delete from public.order_lines where order_id = $1`, s.order)
}

func (s dropLines) target(database string) (string, []any) {
	return `delete from ` + database + `.order_lines where order_id = ?`, []any{s.order}
}

func places(n int) string { return strings.Repeat("?, ", n-1) + "?" }

// text is a nullable text as database/sql takes it.
func text(s *string) any {
	if s == nil {
		return nil
	}
	return *s
}
