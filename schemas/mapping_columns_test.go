package schemas

import (
	"slices"
	"testing"
)

func TestColumnsOfWritesTheNamedFieldsAlone(t *testing.T) {
	e := entityOf(t, Postgres, MariaDB, "a: {type: boolean, target: b}", "n: {type: integer}", "x: {type: text, target: {expr: 'n'}}")
	values := e.Values(Legacy, row("id", "1", "a", "t", "n", "7", "x", ""))
	got, err := e.ColumnsOf(Target, values, []string{"n", "a"})
	if err != nil || !slices.Equal(got, row("n", "7", "b", "1")) {
		t.Errorf("to write are %v, %v", got, err)
	}
	for _, fields := range [][]string{{"x"}, {"none"}} {
		if got, err := e.ColumnsOf(Target, values, fields); err == nil {
			t.Errorf("%q are written as %v", fields, got)
		}
	}
	if got, err := e.ColumnsOf(Target, values, nil); err != nil || len(got) != 0 {
		t.Errorf("no field is written as %v, %v", got, err)
	}
}
