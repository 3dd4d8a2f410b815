package rollout

import (
	"math"
	"slices"
	"strconv"
	"testing"

	"pgregory.net/rapid"

	"github.com/trueup-io/trueup/schemas"
)

func genKey() *rapid.Generator[[]string] { return rapid.SliceOfN(rapid.String(), 1, 4) }

func genShare() *rapid.Generator[schemas.RampShare] {
	return rapid.Custom(func(t *rapid.T) schemas.RampShare {
		return schemas.RampShare(rapid.IntRange(0, int(schemas.WholeRamp)).Draw(t, "share"))
	})
}

func genPins(keys ...[]string) *rapid.Generator[[]schemas.Pin] {
	return rapid.Custom(func(t *rapid.T) (pins []schemas.Pin) {
		for _, k := range keys {
			if rapid.Bool().Draw(t, "pinned") {
				pins = append(pins, schemas.Pin{Key: k, Side: rapid.SampledFrom(schemas.Sides[:]).Draw(t, "side")})
			}
		}
		return pins
	})
}

// "Raising p % never removes a user": who is on the target stays there. At 0%
// nobody is, but for pins; at 100% everybody.
func TestI32_RaisingNeverRemoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, other := genKey().Draw(t, "key"), genKey().Draw(t, "other")
		if slices.Equal(key, other) {
			t.Skip("one key")
		}
		low, high := genShare().Draw(t, "low"), genShare().Draw(t, "high")
		low, high = min(low, high), max(low, high)
		if rapid.Bool().Draw(t, "close") { // to the key's own bucket, where it counts
			low = schemas.RampShare(schemas.BucketOf("s", key))
			high = low + 1
		}
		f := Ready(&schemas.Rollout{Salt: "s", Stage: schemas.StageRamp, Pins: genPins(key, other).Draw(t, "pins")})
		at := func(share schemas.RampShare) Decision {
			return Evaluate(f.At(Place{schemas.StageRamp, share}), key)
		}
		if at(low).Authority() == schemas.Target && at(high).Authority() != schemas.Target {
			t.Fatalf("%q is on the target at %s, and not at %s", key, low, high)
		}
		if d := at(0); d.Reason == ByRamp && d.Authority() != schemas.Legacy {
			t.Fatalf("%q is on the target at 0%%", key)
		}
		if d := at(schemas.WholeRamp); d.Reason == ByRamp && d.Authority() != schemas.Target {
			t.Fatalf("%q is on legacy at 100%%", key)
		}
	})
}

// A pin holds exactly its key, and only on the ramp.
func TestI32_PinsHoldTheirKeyAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key, other := genKey().Draw(t, "key"), genKey().Draw(t, "other")
		share := genShare().Draw(t, "share")
		side := rapid.SampledFrom(schemas.Sides[:]).Draw(t, "side")
		plain := Ready(&schemas.Rollout{Salt: "s", Stage: schemas.StageRamp, Ramp: share})
		pinned := Ready(&schemas.Rollout{Salt: "s", Stage: schemas.StageRamp, Ramp: share, Pins: []schemas.Pin{{Key: key, Side: side}}})
		if d := Evaluate(pinned, key); d.Authority() != side || d.Reason != ByPin {
			t.Fatalf("%q is pinned to %s: have %+v", key, side, d)
		}
		if !slices.Equal(key, other) && Evaluate(pinned, other) != Evaluate(plain, other) {
			t.Fatalf("a pin of %q moves %q", key, other)
		}
		for _, s := range schemas.RolloutStages {
			if s != schemas.StageRamp && Evaluate(pinned.At(Place{Stage: s}), key) != Evaluate(plain.At(Place{Stage: s}), key) {
				t.Fatalf("a pin of %q counts at %s", key, s)
			}
		}
	})
}

const sample = 200_000

// The share of keys on the target is the ramp's within five standard deviations
// of chance; for keys that count up, too, as ids do.
func TestI32_ErrorWithinBounds(t *testing.T) {
	for _, salt := range []string{"orders", "customers", "a"} {
		buckets := make([]int, sample)
		for i := range buckets {
			buckets[i] = schemas.BucketOf(salt, []string{strconv.Itoa(i)})
		}
		for _, share := range []schemas.RampShare{1, 100, 1_000, 12_500, 50_000, 99_900} {
			p, on := float64(share)/float64(schemas.WholeRamp), 0
			for _, b := range buckets {
				if b < int(share) {
					on++
				}
			}
			if off := math.Abs(float64(on) - p*sample); off > 5*math.Sqrt(p*(1-p)*sample) {
				t.Errorf("salt %s: at %s %d of %d keys are on the target", salt, share, on, sample)
			}
		}
	}
}

// Two rollouts' buckets are independent: over a grid of 10 by 10, chi-squared
// with 81 degrees of freedom stays below what chance exceeds once in 10^9.
func TestI32_BucketsOfTwoFlagsAreIndependent(t *testing.T) {
	for _, salts := range [][2]string{{"orders", "customers"}, {"orders", "orders-2"}, {"a", "b"}, {"", "x"}} {
		var grid [10][10]float64
		var rows, columns [10]float64
		for i := range sample {
			key := []string{strconv.Itoa(i)}
			r, c := schemas.BucketOf(salts[0], key)*10/schemas.Buckets, schemas.BucketOf(salts[1], key)*10/schemas.Buckets
			grid[r][c]++
			rows[r]++
			columns[c]++
		}
		chi := 0.0
		for r := range grid {
			for c := range grid[r] {
				want := rows[r] * columns[c] / sample
				chi += (grid[r][c] - want) * (grid[r][c] - want) / want
			}
		}
		if chi > 175 {
			t.Errorf("salts %q: chi-squared is %.0f", salts, chi)
		}
	}
}

// Parts of a key, and the salt, do not run into one another.
func TestBucketsKnowWhereAPartEnds(t *testing.T) {
	for _, pair := range [][2][]string{{{"ab", "c"}, {"a", "bc"}}, {{"a", ""}, {"", "a"}}, {{"a"}, {"a", ""}}} {
		if schemas.BucketOf("s", pair[0]) == schemas.BucketOf("s", pair[1]) {
			t.Errorf("%q and %q are one key", pair[0], pair[1])
		}
	}
	if schemas.BucketOf("sa", []string{"b"}) == schemas.BucketOf("s", []string{"ab"}) {
		t.Error("the salt runs into the key")
	}
}
