package mysql

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// hugeRows is how many rows the huge transaction has: enough that they are
// many times what may wait in memory. TRUEUP_HUGE_ROWS says another number.
const hugeRows = 100_000

// residentMax is the most that capturing a transaction may take, whatever its
// size.
const residentMax = 96 << 10 // kB

// Fault matrix, "Huge txn: spill to disk … hold in RAM, or expose early":
// memory does not grow with a transaction, and the number of its rows and its
// tag reach every row. It captures in a process of its own, without the race
// detector's memory.
func TestI20_MemoryOfAHugeTransaction(t *testing.T) {
	t.Parallel()
	rows := hugeRows
	if n, err := strconv.Atoi(os.Getenv("TRUEUP_HUGE_ROWS")); err == nil {
		rows = n
	}
	dsn, name := servertest.MariaDBDatabase(t)
	l := newLab(t, MariaDB, dsn, name)
	s, start, err := l.open(capture.Start{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	l.session("begin", "insert /*write_id='huge'*/ into a select seq, repeat('x', 90), seq from seq_1_to_"+strconv.Itoa(rows-1), "insert into b values (1, 'last', 0)", "commit")

	dir := t.TempDir()
	binary, rules, spill := filepath.Join(dir, "discard"), filepath.Join(dir, "migration.yaml"), filepath.Join(dir, "spill")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "./testdata/discard")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	yaml := fmt.Sprintf("apiVersion: trueup/v1\nkind: Migration\nmetadata: {name: huge, owner: us}\nstores:\n  legacy: {driver: postgres, dsn: \"env:A\"}\n"+
		"  target: {driver: mariadb, dsn: \"env:B\"}\nentities:\n  - {name: a, key: [id], legacy: {table: public.a}, target: {table: %[1]s.a}, fields: {id: {type: integer}, v: {type: text}}}\n"+
		"  - {name: b, key: [id], legacy: {table: public.b}, target: {table: %[1]s.b}, fields: {id: {type: integer}, v: {type: text}}}\n", name)
	if err := os.WriteFile(rules, []byte(yaml), 0o600); err != nil {
		t.Fatal(err)
	}
	argument, err := json.Marshal(map[string]any{"Driver": MariaDB, "DSN": l.cfg.DSN, "Rules": rules, "SpillDir": spill, "Start": start, "Rows": rows})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), binary, string(argument))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var said struct {
		Changes, Whole, Tagged int
		SetAside, Bytes        int64
		ResidentKB             int
		Seconds                float64
	}
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", said)
	if said.Changes != rows || said.Whole != rows || said.Tagged != rows {
		t.Errorf("%d changes, %d with the number of rows, %d tagged; want %d", said.Changes, said.Whole, said.Tagged, rows)
	}
	if said.SetAside != 1 || said.ResidentKB > residentMax {
		t.Errorf("%d transactions waited in a file; %d kB resident, the limit is %d", said.SetAside, said.ResidentKB, residentMax)
	}
	if files, err := os.ReadDir(spill); err != nil || len(files) > 0 {
		t.Errorf("%d files are left: %v", len(files), err)
	}
}
