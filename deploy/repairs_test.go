package deploy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/compensate"
	"github.com/trueup-io/trueup/schemas"
)

// once: a right that is not there does not come by itself.
var once = compensate.Attempts{Max: 1}

// repair prepares an applier, updates and then deletes a row that stands in table
// orders as given (columns and their texts, "" for NULL; the first one is the key,
// the second a text), and inserts another. Each write is asked for twice.
func repair(t *testing.T, a compensate.Applier, side schemas.Side, schema string, names, texts []string) error {
	t.Helper()
	if err := a.Prepare(t.Context()); err != nil {
		return err
	}
	row := func(change map[int]string) schemas.Row {
		var r schemas.Row
		for i, name := range names {
			c := schemas.Column{Name: name, Text: texts[i]}
			if text, ok := change[i]; ok {
				c.Text = text
			}
			if c.Presence = schemas.Value; c.Text == "" {
				c.Presence = schemas.Null
			}
			r = append(r, c)
		}
		return r
	}
	changed := row(map[int]string{1: "paid"})
	for _, c := range []schemas.Compensation{
		{ID: "update", Statement: schemas.UpdateRow, Key: texts[:1], Expect: row(nil), Set: changed[1:2]},
		{ID: "delete", Statement: schemas.DeleteRow, Key: texts[:1], Expect: changed},
		{ID: "insert", Statement: schemas.InsertRow, Key: []string{"77"}, Set: row(map[int]string{0: "77"})},
	} {
		c.DivergenceID, c.Entity, c.Side, c.Mode, c.Policy, c.Rules = "d", "order", side, "apply", "authority_wins", "orders-1"
		c.Schema, c.Table = schema, "orders"
		c.KeyColumns = schemas.Row{{Name: names[0], Text: c.Key[0], Presence: schemas.Value}}
		for _, want := range []schemas.Result{schemas.Applied, schemas.AlreadyApplied} {
			o, err := a.Apply(t.Context(), c)
			if err != nil {
				return fmt.Errorf("%s: %w", c.ID, err)
			}
			if o.Result != want {
				return fmt.Errorf("%s: %s %s, want %s", c.ID, o.Result, o.Detail, want)
			}
		}
	}
	return nil
}

// wantStatements wants each statement of sql to stand in a file, white space and
// comments apart.
func wantStatements(t *testing.T, path, sql string) {
	t.Helper()
	have := statements(readFile(t, path))
	for _, s := range statements(sql) {
		if !slices.Contains(have, s) {
			t.Errorf("%s does not have\n%s", path, s)
		}
	}
}

func statements(sql string) (out []string) {
	var text strings.Builder
	for line := range strings.Lines(sql) {
		code, _, _ := strings.Cut(line, "--")
		text.WriteString(code + "\n")
	}
	for s := range strings.SplitSeq(text.String(), ";") {
		if s = strings.Join(strings.Fields(s), " "); s != "" {
			out = append(out, s)
		}
	}
	return out
}
