package mysql

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/capture"
)

// TestFloatsEqualTheServersText writes many numbers and reads them back both
// ways.
func TestFloatsEqualTheServersText(t *testing.T) {
	flavours(t, func(t *testing.T, l *lab) {
		l.exec("drop table a")
		l.exec("create table a (id int primary key, v int, f float, d double, f2 float(12,3), d2 double(20,5))")
		c := l.capture(capture.Start{})
		var values []string
		add := func(f float32, d float64) {
			if math.IsNaN(float64(f)) || math.IsInf(float64(f), 0) || math.IsNaN(d) || math.IsInf(d, 0) {
				return
			}
			small, smaller := float32(math.Mod(float64(f), 1e8)), math.Mod(d, 1e14)
			values = append(values, fmt.Sprintf("(%d,0,%.20e,%.20e,%.20e,%.20e)", len(values), f, d, small, smaller))
		}
		for e := -30; e < 30; e++ {
			for _, m := range []float64{1, 1.5, 9.99999, 9.999995, 1.234565, 5, 2.5, 1.0000005, -1, -7.77777777} {
				v := m * math.Pow(10, float64(e))
				add(float32(v), v)
			}
		}
		random := rand.New(rand.NewPCG(1, 2))
		for i := range 4000 {
			switch i % 4 {
			case 0:
				add(math.Float32frombits(random.Uint32()), math.Float64frombits(random.Uint64()))
			case 1:
				add(float32(random.IntN(1e8))/100, float64(random.Int64N(1<<40))/1000)
			case 2:
				add(float32(random.NormFloat64()*1e6), random.NormFloat64()*1e10)
			case 3:
				add(float32(random.Int32()), float64(random.Int64()))
			}
		}
		for i := 0; i < len(values); i += 500 {
			l.exec("insert into a values " + strings.Join(values[i:min(i+500, len(values))], ","))
		}
		rows, err := l.db.Query("select cast(f as char), cast(d as char), cast(f2 as char), cast(d2 as char) from a order by id")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		changes, wrong := c.settled(), 0
		for i := 0; rows.Next(); i++ {
			var want [4]string
			if err := rows.Scan(&want[0], &want[1], &want[2], &want[3]); err != nil {
				t.Fatal(err)
			}
			for col := range want {
				if got := changes[i].After[2+col]; got.Text != want[col] && wrong < 20 {
					wrong++
					t.Errorf("%s of %s: captured %s, the server says %s", got.Name, values[i], got.Text, want[col])
				}
			}
		}
	})
}
