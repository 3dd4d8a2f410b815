package schemas

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// contractMigration is the sample of contracts.md.
var contractMigration = func() string {
	b, err := os.ReadFile("testdata/migration/good/contract.yaml")
	if err != nil {
		panic(err)
	}
	return string(b)
}()

func TestContractMigrationIsRead(t *testing.T) {
	m, err := ParseMigration([]byte(contractMigration), "/etc/trueup/migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if m.Name != "orders" || m.Owner != "team-orders" || m.DataDir != "/etc/trueup/trueup-data" || m.Log.Partitions != 8 || m.Log.Brokers != nil {
		t.Errorf("read %+v", m)
	}
	if s := m.Store(Target); s.Driver != MariaDB || s.DSN != "file:target.dsn" || s.Side != Target {
		t.Errorf("target store is %+v", s)
	}
	if err := m.RequireStores(); err != nil {
		t.Errorf("stores: %v", err)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	e, ok := rules.EntityOf(Target, "shop", "orders")
	if !ok || e.Name != "order" || e.SettleWindow != 2*time.Second || !e.SettleWindowSet || e.Authority != Legacy || !e.AuthoritySet {
		t.Fatalf("entity of shop.orders is %+v", e)
	}
	if e.Table(Legacy) != (TableName{"public", "orders"}) || e.Table(Target) != (TableName{"shop", "orders"}) {
		t.Errorf("tables are %v and %v", e.Table(Legacy), e.Table(Target))
	}
	if c := &e.Compensate; c.Mode != "report" || c.Policy != "authority_wins" || len(c.Rules) != 0 || c.Guards != DefaultGuards {
		t.Errorf("compensate is %+v", e.Compensate)
	}
	if len(e.Fields) != 5 || e.Fields[3].Type != "timestamp(3,truncate)" || !e.Fields[4].Ignore {
		t.Errorf("fields are %+v", e.Fields)
	}
	if column, ok := e.Fields[1].Column(Legacy); column != "state" || !ok {
		t.Errorf("status lives in %q", column)
	}
}

// A file for audits names no store, and a run is refused with everything that
// it lacks.
func TestFileForAuditsNeedsNoStores(t *testing.T) {
	m, err := LoadMigration("testdata/migration/good/audit-only.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if m.Log.Partitions != DefaultPartitions || m.DataDir != filepath.Join("testdata/migration/good", DefaultDataDir) || m.Store(Legacy) != nil {
		t.Errorf("defaults are %+v", m)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	e, ok := rules.Entity("e")
	if !ok || e.SettleWindow != DefaultSettleWindow || e.SettleWindowSet || e.Authority != Legacy || e.AuthoritySet || e.Compensate.Mode != DefaultMode {
		t.Errorf("entity is %+v", e)
	}
	want := `testdata/migration/good/audit-only.yaml:1:1: stores: missing: a run needs both stores
testdata/migration/good/audit-only.yaml:5:5: entities[0].legacy: missing: a run needs the table on both sides
testdata/migration/good/audit-only.yaml:5:5: entities[0].target: missing: a run needs the table on both sides`
	if err := m.RequireStores(); err == nil || err.Error() != want {
		t.Errorf("what a run lacks is\n%v\nwant\n%s", err, want)
	}
	var all ConfigErrors
	if err := m.RequireStores(); !errors.As(err, &all) || len(all) != 3 {
		t.Errorf("%T is no list", err)
	}
}

func TestEverythingIsRead(t *testing.T) {
	m, err := LoadMigration("testdata/migration/good/everything.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(m.Log.Brokers, []string{"kafka-1:9092", "10.0.0.7:9092", "[::1]:9092"}) || m.Log.Retention != 3650*24*time.Hour || !m.Log.Changelog || m.DataDir != "/var/lib/trueup" {
		t.Errorf("log is %+v, data are in %s", m.Log, m.DataDir)
	}
	rules, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	e := rules.Entities()[0]
	if e.Table(Legacy) != (TableName{"shop", "order`s"}) || e.Table(Target) != (TableName{"odd.schema", `ta"ble`}) {
		t.Errorf("tables are %v and %v", e.Table(Legacy), e.Table(Target))
	}
	if got := e.Table(Target).String(); got != `"odd.schema"."ta""ble"` {
		t.Errorf("the target table is written as %s", got)
	}
	if e.SettleWindow != 90*time.Minute+500*time.Millisecond || e.Authority != Target || !slices.Equal(e.PartitionBy, []string{"id"}) {
		t.Errorf("entity is %+v", e)
	}
	var types []string
	for _, f := range e.Fields {
		types = append(types, f.Name+" "+f.Type)
	}
	want := "id integer,region enum,größe decimal(0),price decimal(0),ratio float,near float(ulps=4),nearer float(relative=1e-09)," +
		"paid boolean,title text,nick text(casefold),full text(nfc,trimend),raw bytes,uid uuid,born date,at time(0,truncate)," +
		"placed timestamp(6),doc json,tags array(text),sums array(decimal(2)),times array(timestamp(3)),note text"
	if got := strings.Join(types, ","); got != want {
		t.Errorf("fields are\n%s\nwant\n%s", got, want)
	}
	for i, column := range map[int]string{0: "order_id", 7: "is paid"} {
		if got, ok := e.Fields[i].Column(Legacy); got != column || !ok {
			t.Errorf("%s lives in %q, want %q", e.Fields[i].Name, got, column)
		}
	}
	if _, ok := e.Fields[10].Column(Legacy); ok {
		t.Error("an expression is a column")
	}
	if _, ok := rules.EntityOf(Target, "public", "lines"); !ok {
		t.Error("PostgreSQL's lines is not public.lines")
	}
	if _, ok := rules.EntityOf(Side(0), "public", "lines"); ok {
		t.Error("no side has a table")
	}
}

// The version names exactly what verdicts depend on.
func TestRulesVersion(t *testing.T) {
	rules := mustRules(t, contractMigration)
	sum := sha256.Sum256([]byte(rules.Definition))
	if want := "orders-" + hex.EncodeToString(sum[:4]); rules.Version != want {
		t.Errorf("version is %s, want %s", rules.Version, want)
	}
	if !json.Valid([]byte(rules.Definition)) {
		t.Errorf("definition is no JSON: %s", rules.Definition)
	}
	if canon, _, err := (jsonType{}).canon(nil, rules.Definition); err != nil || string(canon) != rules.Definition {
		t.Errorf("definition is not canonical: %s, %v", rules.Definition, err)
	}
	for name, change := range map[string][2]string{
		"dsn":        {"env:LEGACY_DSN", "env:OTHER"},
		"owner":      {"team-orders", "team-b"},
		"partitions": {"partitions: 8", "partitions: 4"},
		"data":       {"./trueup-data", "/elsewhere"},
		"mode":       {"mode: report", "mode: apply"},
		"comment":    {"# same column", "# the same column"},
		"unit":       {"settleWindow: 2s", "settleWindow: 2000ms"},
		"default":    {"settleWindow: 2s", "settleWindow: 2s\n    retainSettled: true"},
	} {
		if other := mustRules(t, strings.Replace(contractMigration, change[0], change[1], 1)); other.Version != rules.Version {
			t.Errorf("%s makes another version", name)
		}
	}
	seen := map[string]string{}
	for name, change := range map[string][2]string{
		"nothing":   {"", ""},
		"window":    {"settleWindow: 2s", "settleWindow: 3s"},
		"drop":      {"settleWindow: 2s", "settleWindow: 2s\n    retainSettled: false"},
		"authority": {"authority: legacy", "authority: target"},
		"scale":     {"scale: 2", "scale: 3"},
		"column":    {"legacy: state", "legacy: status"},
		"ignore":    {"ignore: true", "ignore: false"},
		"table":     {"public.orders", "public.order"},
		"driver":    {"driver: mariadb", "driver: mysql"},
		"rounding":  {"precision: 3", "precision: 3, rounding: half_up"},
		"key":       {"key: [id]", "key: [id, status]"},
		"name":      {"name: orders", "name: others"},
	} {
		version := mustRules(t, strings.Replace(contractMigration, change[0], change[1], 1)).Version
		if other, ok := seen[version]; ok {
			t.Errorf("%s and %s have one version", name, other)
		}
		seen[version] = name
	}
	if again := mustRules(t, contractMigration); again.Definition != rules.Definition {
		t.Error("the definition is another the second time")
	}
}

func TestLoadMigrationNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadMigration(filepath.Join(dir, "none.yaml")); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("a file that is not there: %v", err)
	}
	if _, err := LoadMigration(dir); err == nil || !strings.Contains(err.Error(), dir) {
		t.Errorf("a directory: %v", err)
	}
	big := filepath.Join(dir, "big.yaml")
	if err := os.WriteFile(big, []byte("# "+strings.Repeat("x", maxMigrationBytes)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadMigration(big); err == nil || err.Error() != big+":1:1: the file is larger than 4 MiB" {
		t.Errorf("a large file: %v", err)
	}
}

// "YAML bomb": what a parser could drown in is refused before it is parsed.
func TestBadInput24_YAMLBombs(t *testing.T) {
	var wide, twice strings.Builder
	for i := range 80_000 {
		wide.WriteString("k" + strings.Repeat("x", i%3) + ": 1\n")
	}
	twice.WriteString("a:\n")
	for range 3000 {
		twice.WriteString("  b: 1\n")
	}
	for name, src := range map[string]string{
		"brackets":       "a: " + strings.Repeat("[", 20_000),
		"braces":         "a: " + strings.Repeat("{a: ", 20_000),
		"dashes":         strings.Repeat("- ", 20_000) + "a",
		"questions":      strings.Repeat("? ", 20_000) + "a",
		"one line":       strings.Repeat("a: ", 20_000),
		"wide":           wide.String(),
		"same key":       twice.String(),
		"words":          "[" + strings.Repeat("a,", 160_000) + "]",
		"anchors":        strings.Repeat("&a ", 20_000),
		"unclosed quote": "a: \"" + strings.Repeat("\\u0061", 20_000),
		"deep":           deepYAML(300),
	} {
		_, err := ParseMigration([]byte(src), "m.yaml")
		var all ConfigErrors
		if !errors.As(err, &all) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func deepYAML(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// A file written on Windows, or with a mark of its byte order, is the same
// file.
func TestLineEndsDoNotMatter(t *testing.T) {
	want := mustRules(t, contractMigration).Definition
	for name, src := range map[string]string{
		"CRLF": strings.ReplaceAll(contractMigration, "\n", "\r\n"),
		"BOM":  "\ufeff" + contractMigration,
	} {
		if got := mustRules(t, src).Definition; got != want {
			t.Errorf("%s: the definition is %s", name, got)
		}
	}
}
