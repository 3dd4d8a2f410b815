// Package tagging shows how applications say whose writes are whose: see
// README.md. Its test runs what stands there.
package tagging

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql" // the driver
	"github.com/jackc/pgx/v5"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/capture/mysql"
	"github.com/trueup-io/trueup/capture/postgres"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/schemas"
)

func TestMain(m *testing.M) { servertest.Main(m) }

// tag has whatever a comment could end at, and what URL encodings disagree on.
var tag = schemas.Tag{
	WriteID:     `it's 100% "/* of */ a \ + b,c='d' & ü*`,
	Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	Service:     "checkout",
}

var tagWords = []string{"write_id", tag.WriteID, "traceparent", tag.Traceparent, "service", tag.Service, "tracestate", "a=b"}

// languages run the page's function comment on a tag that is given as arguments,
// names and values in turn.
var languages = []struct {
	name, file, before, after string
	command                   []string
}{
	{"go", "main.go", "package main\n\nimport (\"fmt\"; \"maps\"; \"net/url\"; \"os\"; \"slices\"; \"strings\")\n", `
func main() {
	tag := map[string]string{}
	for i := 1; i < len(os.Args); i += 2 {
		tag[os.Args[i]] = os.Args[i+1]
	}
	fmt.Print(comment(tag))
}`, []string{"go", "run"}},
	{"python", "main.py", "", `
import sys
sys.stdout.write(comment(dict(zip(sys.argv[1::2], sys.argv[2::2]))))
`, []string{"python3"}},
	{"java", "Main.java", `
import java.net.URLEncoder;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.stream.Collectors;
class Main {
	public static void main(String[] args) {
		Map<String, String> tag = new HashMap<>();
		for (int i = 0; i < args.length; i += 2) tag.put(args[i], args[i + 1]);
		System.out.print(comment(tag));
	}
`, "}", []string{"java"}},
	{"js", "main.js", "", `
const words = process.argv.slice(2), tag = {};
for (let i = 0; i < words.length; i += 2) tag[words[i]] = words[i + 1];
process.stdout.write(comment(tag));
`, []string{"node"}},
}

// The first block of each language on the page makes a comment from which the
// binlog gives the tag back.
func TestCommentsReachTheLog(t *testing.T) {
	page := read(t, "README.md")
	dsn, database := servertest.MariaDBDatabase(t)
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE orders (id bigint PRIMARY KEY, status text)"); err != nil {
		t.Fatal(err)
	}
	config := mysql.Config{Side: schemas.Target, Source: "tagging", Driver: mysql.MariaDB, DSN: dsn, Rules: rules(t, "public", database)}
	for i, l := range languages {
		t.Run(l.name, func(t *testing.T) {
			if _, err := exec.LookPath(l.command[0]); err != nil {
				if os.Getenv("TRUEUP_REQUIRE_ALL") == "1" {
					t.Fatalf("%s is not installed", l.command[0])
				}
				t.Skipf("%s is not installed", l.command[0])
			}
			_, block, found := strings.Cut(page, "\n```"+l.name+"\n")
			block, _, closed := strings.Cut(block, "\n```\n")
			if !found || !closed {
				t.Fatalf("README.md has no block in %s", l.name)
			}
			main := filepath.Join(t.TempDir(), l.file)
			if err := os.WriteFile(main, []byte(l.before+block+l.after), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), l.command[0], append(append(l.command[1:len(l.command):len(l.command)], main), tagWords...)...)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			var said bytes.Buffer
			cmd.Stderr = &said
			comment, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, said.String())
			}
			got := captured(t, schemas.Target, func() capture.Source { return mysql.New(config) }, func() {
				if _, err := db.ExecContext(t.Context(), string(comment)+"INSERT INTO orders VALUES (?, 'new')", i); err != nil {
					t.Fatalf("%v in %s", err, comment)
				}
			})
			if got != tag {
				t.Errorf("%s gave %+v", comment, got)
			}
		})
	}
}

// Each statement on the page for PostgreSQL takes the tag to the log, and the page
// has one for each language.
func TestMessagesReachTheLog(t *testing.T) {
	statements := regexp.MustCompile(`select pg_logical_emit_message\([^)]*\)`).FindAllString(read(t, "README.md"), -1)
	if len(statements) != len(languages) {
		t.Fatalf("%d statements for %d languages", len(statements), len(languages))
	}
	dsn := servertest.PostgresDatabase(t)
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "CREATE TABLE orders (id bigint PRIMARY KEY, status text)"); err != nil {
		t.Fatal(err)
	}
	words := map[string]string{}
	for i := 0; i < len(tagWords); i += 2 {
		words[tagWords[i]] = tagWords[i+1]
	}
	said, err := json.Marshal(words)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range statements {
		config := postgres.Config{Side: schemas.Legacy, Source: "tagging", DSN: dsn, Slot: "tagging_" + languages[i].name,
			Publication: "tagging", Rules: rules(t, "public", "shop")}
		got := captured(t, schemas.Legacy, func() capture.Source { return postgres.New(config) }, func() {
			err := pgx.BeginFunc(t.Context(), conn, func(tx pgx.Tx) error {
				_, err := tx.Exec(t.Context(), "INSERT INTO orders VALUES ($1, 'new')", i)
				if err != nil {
					return err
				}
				_, err = tx.Exec(t.Context(), regexp.MustCompile(`%s|\?`).ReplaceAllString(s, "$$1"), string(said))
				return err
			})
			if err != nil {
				t.Fatalf("%v in %s", err, s)
			}
		})
		if got != tag {
			t.Errorf("%s gave %+v", s, got)
		}
	}
}

// rules maps table orders of two schemas.
func rules(t *testing.T, legacy, target string) *schemas.Rules {
	t.Helper()
	m, err := schemas.ParseMigration([]byte(`{apiVersion: trueup/v1, kind: Migration, metadata: {name: tagging},
		stores: {legacy: {driver: postgres, dsn: "env:L"}, target: {driver: mariadb, dsn: "env:T"}}, entities: [{name: order, key: [id],
		legacy: {table: `+legacy+`.orders}, target: {table: `+target+`.orders}, fields: {id: {type: integer}, status: {type: text}}}]}`), "migration.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// captured returns the tag of the one change that write makes.
func captured(t *testing.T, side schemas.Side, open func() capture.Source, write func()) schemas.Tag {
	t.Helper()
	c := capture.PrintConfig{Side: side, Source: "tagging", StatePath: filepath.Join(t.TempDir(), "capture.json"), Until: "now"}
	if err := capture.Print(t.Context(), c, open(), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	write()
	var out bytes.Buffer
	if err := capture.Print(t.Context(), c, open(), &out); err != nil {
		t.Fatal(err)
	}
	var changes []schemas.Change
	lines := schemas.NewLineReader(&out, 0)
	for {
		r, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if r.Change != nil {
			changes = append(changes, *r.Change)
		}
	}
	if len(changes) != 1 {
		t.Fatalf("captured %d changes, want one", len(changes))
	}
	return changes[0].Tag
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
