package shop

import (
	"strconv"
	"time"
)

// Order is an order as the application knows it.
type Order struct {
	ID       int64
	Customer string
	State    string
	Amount   Cents
	Placed   time.Time // microseconds, UTC
	Gift     bool
	Details  string  // a JSON object
	Note     *string // nil: none was ever made
}

// Line is one line of an order.
type Line struct {
	Order int64
	No    int
	SKU   string
	Qty   int
	Price Cents
}

// Cents is an amount of money in hundredths.
type Cents int64

// String is the amount as SQL takes it: "10.50", "-0.05".
func (c Cents) String() string {
	sign := ""
	if c < 0 {
		sign, c = "-", -c
	}
	whole, part := strconv.FormatInt(int64(c/100), 10), strconv.FormatInt(int64(c%100), 10)
	if len(part) == 1 {
		part = "0" + part
	}
	return sign + whole + "." + part
}

// Tag is what a write says of itself. The zero Tag says nothing.
type Tag struct {
	WriteID     string `json:"write_id"`
	Traceparent string `json:"traceparent"`
	Service     string `json:"service"`
}

// Entities of the migration, as migration.yaml names them.
const (
	OrderEntity = "order"
	LineEntity  = "order_line"
)

// Key names one row of one entity in canonical texts.
type Key struct {
	Entity string
	Key    []string
}

// Text is the key as people read it: "order 100042", "order_line 100042/2".
func (k Key) Text() string {
	text := k.Entity + " "
	for i, part := range k.Key {
		if i > 0 {
			text += "/"
		}
		text += part
	}
	return text
}

func orderKey(id int64) Key { return Key{OrderEntity, []string{strconv.FormatInt(id, 10)}} }

func lineKey(id int64, no int) Key {
	return Key{LineEntity, []string{strconv.FormatInt(id, 10), strconv.Itoa(no)}}
}
