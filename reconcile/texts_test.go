package reconcile

import (
	"fmt"
	"strings"
	"testing"
)

func TestTextsStayAsTheyWere(t *testing.T) {
	var x texts
	var kept, want []string
	for i := range 2000 {
		text := strings.Repeat(fmt.Sprint(i%7), i%200)
		shared := []byte(text)
		kept = append(kept, x.keepBytes(shared))
		clear(shared)
		want = append(want, strings.Clone(text))
	}
	for i := range want {
		if kept[i] != want[i] {
			t.Fatalf("text %d is %q, want %q", i, kept[i], want[i])
		}
	}
}
