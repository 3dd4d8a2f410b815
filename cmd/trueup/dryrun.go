package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/schemas"
)

// dryRun says what a repair would run, and runs none of it. The stores are asked
// for the columns of its tables, and for nothing else.
type dryRun struct {
	m        *schemas.Migration
	rules    *schemas.Rules
	appliers [3]compensate.Applier
}

func (r *dryRun) close() {
	for _, a := range r.appliers {
		if c, ok := a.(io.Closer); ok {
			_ = c.Close() // nothing was written
		}
	}
}

// statementLine is a statement as JSON.
type statementLine struct {
	Kind           string    `json:"kind"`
	CompensationID string    `json:"compensation_id"`
	SQL            string    `json:"sql,omitempty"`
	Args           []*string `json:"args,omitempty"`
	Effect         string    `json:"effect,omitempty"`
	Problem        string    `json:"problem,omitempty"`
}

func (r *dryRun) print(ctx context.Context, w io.Writer, c *schemas.Compensation, asJSON bool) error {
	line := statementLine{Kind: "statement", CompensationID: c.ID}
	sql, err := r.statement(ctx, c)
	if err != nil {
		line.Problem = err.Error()
	} else {
		line.SQL, line.Args, line.Effect = sql.Text, sql.Args, effectOf(c)
	}
	if asJSON {
		return json.NewEncoder(w).Encode(line)
	}
	if line.Problem != "" {
		_, err := fmt.Fprintf(w, "    no statement: %s\n", inert.Line(line.Problem))
		return err
	}
	if _, err := fmt.Fprintf(w, "    %s\n", inert.Line(line.SQL)); err != nil {
		return err
	}
	for i, arg := range line.Args {
		value := "NULL"
		if arg != nil {
			value = fmt.Sprintf("%q", *arg)
		}
		if _, err := fmt.Fprintf(w, "        %d = %s\n", i+1, value); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(w, "    effect: %s\n", line.Effect)
	return err
}

func (r *dryRun) statement(ctx context.Context, c *schemas.Compensation) (compensate.SQL, error) {
	if r.rules == nil {
		rules, err := rulesOf(r.m)
		if err != nil {
			return compensate.SQL{}, err
		}
		r.rules = rules
	}
	if r.appliers[c.Side] == nil {
		a, err := newApplier(r.m, r.rules, c.Side)
		if err != nil {
			return compensate.SQL{}, err
		}
		r.appliers[c.Side] = a
	}
	return r.appliers[c.Side].Statement(ctx, *c)
}

// effectOf says in words what the statement does.
func effectOf(c *schemas.Compensation) string {
	table := inert.Text(c.Schema) + "." + inert.Text(c.Table)
	switch c.Statement {
	case schemas.InsertRow:
		return fmt.Sprintf("one row is inserted into %s of the %s, if none is there", table, c.Side)
	case schemas.DeleteRow:
		return fmt.Sprintf("one row is deleted from %s of the %s, if all its %d columns are as judged", table, c.Side, len(c.Expect))
	}
	return fmt.Sprintf("%d columns of one row of %s of the %s are written, if all its other columns and these are as judged (%d columns)",
		len(c.Set)+len(c.Add), table, c.Side, len(c.Expect))
}
