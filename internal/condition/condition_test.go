package condition

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

var names = []string{"a", "b", "c"}

func genNumber(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 2+2*min(depth, 1)).Draw(t, "number") {
		case 0, 1:
			return rapid.SampledFrom(names).Draw(t, "name")
		case 2:
			return fmt.Sprintf("%.1f", rapid.Float64Range(0, 9).Draw(t, "value"))
		case 3:
			return "-(" + genNumber(depth-1).Draw(t, "of") + ")"
		}
		op := rapid.SampledFrom([]string{"+", "-", "*", "/"}).Draw(t, "op")
		return "(" + genNumber(depth-1).Draw(t, "left") + " " + op + " " + genNumber(depth-1).Draw(t, "right") + ")"
	})
}

func genTruth(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		switch rapid.IntRange(0, 1+2*min(depth, 1)).Draw(t, "truth") {
		case 0, 1:
			op := rapid.SampledFrom([]string{"<", "<=", ">", ">=", "==", "!="}).Draw(t, "op")
			right := genNumber(2).Draw(t, "right")
			if op != "==" && op != "!=" && rapid.Bool().Draw(t, "whole") { // CEL compares whole numbers with others by order alone
				right = fmt.Sprint(rapid.IntRange(-3, 9).Draw(t, "value"))
			}
			return genNumber(2).Draw(t, "left") + " " + op + " " + right
		case 2:
			return "!(" + genTruth(depth-1).Draw(t, "of") + ")"
		}
		op := rapid.SampledFrom([]string{"&&", "||"}).Draw(t, "op")
		return "(" + genTruth(depth-1).Draw(t, "left") + " " + op + " " + genTruth(depth-1).Draw(t, "right") + ")"
	})
}

// CEL itself evaluates the same text at points within the bounds: what is said
// of all of them holds at each, and at a single point it is decided.
func TestWhatIsSaidHoldsAtEveryPoint(t *testing.T) {
	env, err := environment(names)
	if err != nil {
		t.Fatal(err)
	}
	said := map[Truth]int{}
	check := func(t *rapid.T) {
		text := genTruth(2).Draw(t, "condition")
		c, problems := Compile(text, names)
		if problems != nil {
			if problems[0].Message == "uses no measured value" {
				t.Skip("a condition of no measured value is none")
			}
			t.Fatalf("%s: %v", text, problems)
		}
		checked, issues := env.Compile(text)
		if issues.Err() != nil {
			t.Fatal(issues.Err())
		}
		program, err := env.Program(checked)
		if err != nil {
			t.Fatal(err)
		}
		bounds, point := map[string]Interval{}, true
		for _, n := range names {
			low := rapid.SampledFrom([]float64{-2, -0.5, 0, 0.25, 1, 3, 8}).Draw(t, "low")
			width := rapid.SampledFrom([]float64{0, 0, 0.25, 4}).Draw(t, "width")
			bounds[n] = Interval{low, low + width}
			point = point && width == 0
		}
		truth := c.Judge(bounds)
		said[truth]++
		if point && truth == Either {
			t.Fatalf("%s at the point %v is not decided", text, bounds)
		}
		for range 20 {
			at := map[string]any{}
			for _, n := range names {
				share := rapid.SampledFrom([]float64{0, 1, 0.5, 0.1, 0.9}).Draw(t, "share")
				at[n] = bounds[n].Low + share*(bounds[n].High-bounds[n].Low)
			}
			value, _, err := program.Eval(at)
			if err != nil {
				t.Fatal(err)
			}
			if is := value.Value() == true; truth == True && !is || truth == False && is {
				t.Fatalf("%s over %v: %d is said, at %v it is %t", text, bounds, truth, at, is)
			}
		}
	}
	for rounds := 0; rounds < 50 && len(said) < 4; rounds++ { // what is undefined is drawn once in a hundred
		rapid.Check(t, check)
	}
	for _, truth := range []Truth{Undefined, False, Either, True} {
		if said[truth] == 0 {
			t.Errorf("%d was never said", truth)
		}
	}
}

// What is no number, wherever it stands, decides nothing.
func TestUndefinedWins(t *testing.T) {
	for _, text := range []string{"a < 1.0", "a < 1.0 || b < 1.0", "b < 1.0 || a < 1.0", "!(a < 1.0)", "!(b > 5.0 && a > 1.0)", "b + 0.0 * a < 1.0",
		"a != a", "!(a == a)", "-a < 1.0", "b / (a - a) < 1.0"} {
		c, problems := Compile(text, names)
		if problems != nil {
			t.Fatal(text, problems)
		}
		for _, bad := range []Interval{{math.NaN(), math.NaN()}, {0, math.NaN()}, {math.Inf(-1), 0}, {0, math.Inf(1)}, {1, 0}} {
			if truth := c.Judge(map[string]Interval{"a": bad, "b": {}}); truth != Undefined {
				t.Errorf("%s with %v: %d is said", text, bad, truth)
			}
		}
		if truth := c.Judge(map[string]Interval{"b": {}}); truth != Undefined {
			t.Errorf("%s without a: %d is said", text, truth)
		}
	}
	c, _ := Compile("1.0 / a < 2.0", names)
	if truth := c.Judge(map[string]Interval{"a": {-1, 1}}); truth != Undefined {
		t.Errorf("divided by what may be nothing: %d is said", truth)
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]Problem{
		"a":                               {0, 0, "want comparisons of measured values, joined by &&, || and !"},
		"true":                            {0, 0, "want comparisons of measured values, joined by &&, || and !"},
		"1.0 < 2.0":                       {0, 0, "uses no measured value"},
		"a < 1.0 ? true : false":          {0, 8, "want comparisons of measured values, joined by &&, || and !"},
		"b < 1.0 &&\n (a < 1) == (b < 1)": {1, 4, "want a measured value, a number, or a sum, difference, product or quotient of them"},
		"a < double(1)":                   {0, 10, "want a measured value, a number, or a sum, difference, product or quotient of them"},
		"a < 1.0 + 9007199254740993.0 * (1.0 / 0.0) && d < 1.0": {0, 46, "undeclared reference to 'd'"},
		"a < 9007199254740993": {0, 4, "want a number up to 2^53"},
	} {
		if _, problems := Compile(text, names); len(problems) == 0 || problems[0] != want {
			t.Errorf("%s: want %+v, have %+v", text, want, problems)
		}
	}
}
