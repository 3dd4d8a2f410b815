package main

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// A short demo on each broker: real stores, planted faults, repairs, replay.
func TestDemoIsCleanOnTheEmbeddedBroker(t *testing.T) { shortDemo(t, 1) }

func TestDemoIsCleanOnApacheKafka(t *testing.T) {
	shortDemo(t, 2, "--brokers", strings.Join(servertest.Kafka(t).Brokers, ","))
}

func shortDemo(t *testing.T, seed int, more ...string) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	out, complain, err := execute(ctx, append([]string{"demo", "--json", "--seed", strconv.Itoa(seed), "--changes", "6000"}, more...)...)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, complain)
	}
	lines := strings.Split(strings.TrimSpace(out), "\n")
	var card struct {
		Kind           string
		Planted, Found map[string]int
		False, Missed  int
		StoresEqual    bool `json:"stores_equal"`
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &card); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	t.Log(lines[len(lines)-1])
	if card.Kind != "scorecard" || card.False != 0 || card.Missed != 0 || !card.StoresEqual || len(lines) != 1 {
		t.Fatal(out)
	}
	for _, kind := range []string{"missing", "stale", "mismatch", "reordered", "rogue", "resurrected", "torn"} {
		if card.Planted[kind] == 0 || card.Found[kind] != card.Planted[kind] {
			t.Errorf("%s: planted %d, found %d", kind, card.Planted[kind], card.Found[kind])
		}
	}
}
