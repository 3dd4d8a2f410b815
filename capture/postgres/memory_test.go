package postgres

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/trueup-io/trueup/capture"
)

// hugeRows is how many rows the huge transaction has: enough that they are
// many times what may wait in memory. TRUEUP_HUGE_ROWS says another number.
const hugeRows = 100_000

// residentMax is the most that capturing a transaction may take, whatever its
// size.
const residentMax = 128 << 10 // kB

// discarded is what the child process says.
type discarded struct {
	Changes, Whole, Tagged int
	Streamed, Spilled      int64
	Bytes                  int64
	ResidentKB             int
	Seconds                float64
}

// discarding captures in a process of its own, without the race detector's
// memory.
func discarding(t *testing.T, d *db, cfg Config, start capture.Start, rows int) (said discarded) {
	t.Helper()
	dir := t.TempDir()
	binary, rules := filepath.Join(dir, "discard"), filepath.Join(dir, "migration.yaml")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "./testdata/discard")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.WriteFile(rules, []byte(migrationOf(orderEntity)), 0o600); err != nil {
		t.Fatal(err)
	}
	argument, err := json.Marshal(map[string]any{"DSN": cfg.DSN, "Slot": cfg.Slot, "Rules": rules, "SpillDir": filepath.Join(dir, "spill"),
		"Streaming": cfg.Streaming, "Start": start, "Rows": rows})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, string(argument))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	noFiles(t, filepath.Join(dir, "spill"))
	t.Logf("%s: %+v", cfg.Slot, said)
	return said
}

// Fault matrix, "Huge txn: spill to disk … hold in RAM, or expose early":
// memory does not grow with a transaction, streamed or not, and its tag and
// the number of its rows reach every row although they are known last.
func TestI20_MemoryOfAHugeTransaction(t *testing.T) {
	t.Parallel()
	rows := hugeRows
	if n, err := strconv.Atoi(os.Getenv("TRUEUP_HUGE_ROWS")); err == nil {
		rows = n
	}
	d := newDB(t, createOrders)
	streamed := d.config(orderEntity)
	streamed.Slot += "_streamed"
	streamed.DSN = withSetting(t, streamed.DSN, "logical_decoding_work_mem", "4MB")
	whole := d.config(orderEntity)
	whole.Slot, whole.Streaming = whole.Slot+"_whole", StreamingOff
	_, start := openFirst(t, streamed)
	_, startWhole := openFirst(t, whole)
	d.exec(fmt.Sprintf(`begin; insert into orders select i, md5(i::text), i, repeat('x', 200) from generate_series(1, %d) i; `+sayTag+`; commit`, rows, "last"))
	for _, said := range []discarded{discarding(t, d, streamed, start, rows), discarding(t, d, whole, startWhole, rows)} {
		if said.Changes != rows || said.Whole != rows || said.Tagged != rows {
			t.Errorf("%d changes, %d with the number of rows, %d tagged; want %d", said.Changes, said.Whole, said.Tagged, rows)
		}
		if said.Spilled < int64(rows)*200 || said.ResidentKB > residentMax {
			t.Errorf("%d bytes spilled, %d kB resident; the limit is %d", said.Spilled, said.ResidentKB, residentMax)
		}
	}
}

// Bad input 19, "1 GiB value … partition not stalled": a value of 64 MB passes,
// whole, with no more than a few copies of it in memory.
func TestI20_HugeValue(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	d := newDB(t, createOrders)
	cfg := d.config(orderEntity)
	_, start := openFirst(t, cfg)
	d.exec(fmt.Sprintf("insert into orders values (1, 'huge', 1, repeat('0123456789abcdef', %d))", size/16))
	said := discarding(t, d, cfg, start, 1)
	if said.Changes != 1 || said.Bytes < size {
		t.Errorf("%d changes of %d bytes", said.Changes, said.Bytes)
	}
	if limit := (residentMax<<10 + 4*size) >> 10; said.ResidentKB > limit {
		t.Errorf("%d kB resident; the limit is %d", said.ResidentKB, limit)
	}
}
