package mysql

import (
	"context"
	"strconv"

	"github.com/trueup-io/trueup/schemas"
)

// Explain returns how many rows the server means to look at for a compensation's
// statement.
func (a *Applier) Explain(ctx context.Context, c *schemas.Compensation) (rows int, err error) {
	t, _, err := a.table(ctx, c.Schema, c.Table)
	if err != nil {
		return 0, err
	}
	s, err := writeStatement(t, c)
	if err != nil {
		return 0, err
	}
	err = each(ctx, a.db, "EXPLAIN "+s.text.String(), s.args, func(r []string) error {
		rows, err = strconv.Atoi(r[8])
		return err
	})
	return rows, err
}
