package servers_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

func TestMain(m *testing.M) {
	if kind := os.Getenv(childKind); kind != "" {
		beChild(kind)
	}
	servertest.Main(m)
}

// server is what the three have in common.
type server interface {
	Stop() error
	Kill() error
	Restart(context.Context) error
}

// store is a server that can be asked to remember a text, so that tests can see
// whether it is the same one, with its data, and whether it answers at all.
type store struct {
	server
	dir   string
	write func(ctx context.Context, text string) error
	read  func(ctx context.Context) ([]string, error)
}

// kinds start a server of each kind below dir (empty: in a temporary directory).
// MySQL shares with MariaDB all that is tried on each of them, and is slow to
// make: TestMySQLRestarts does for it.
var kinds = map[string]func(ctx context.Context, dir string) (*store, error){
	"postgres": startPostgres,
	"mariadb":  startMariaDB,
	"kafka":    startKafka,
}

func eachKind(t *testing.T, test func(t *testing.T, start func(ctx context.Context, dir string) (*store, error))) {
	t.Helper()
	t.Parallel() // they mostly wait for servers
	for name, start := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start)
		})
	}
}

func open(t *testing.T, dir string, start func(ctx context.Context, dir string) (*store, error)) *store {
	t.Helper()
	s, err := start(t.Context(), dir)
	servertest.Check(t, err)
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func wantTexts(t *testing.T, s *store, want ...string) {
	t.Helper()
	got, err := s.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("the server holds %q, want %q", got, want)
	}
}

func write(t *testing.T, s *store, text string) {
	t.Helper()
	if err := s.write(t.Context(), text); err != nil {
		t.Fatal(err)
	}
}

// "Restart keeps the port and the data": after SIGKILL, in full run, and after
// Stop of a server whose directory was named. The connection settings never
// change, so reading at all proves the port.
func TestRestartKeepsPortAndData(t *testing.T) {
	eachKind(t, func(t *testing.T, start func(ctx context.Context, dir string) (*store, error)) {
		s := open(t, t.TempDir(), start)
		write(t, s, "before")
		for _, step := range []struct {
			name string
			end  func() error
		}{
			{"killed", s.Kill}, {"running", func() error { return nil }}, {"stopped", s.Stop},
		} {
			if err := step.end(); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			if err := s.Restart(t.Context()); err != nil {
				t.Fatalf("%s: %v", step.name, err)
			}
			write(t, s, step.name)
		}
		wantTexts(t, s, "before", "killed", "running", "stopped")
	})
}

// "Any number run side by side", started at the same moment, each with its own
// data; and the temporary directory goes with Stop.
func TestSideBySide(t *testing.T) {
	eachKind(t, func(t *testing.T, start func(ctx context.Context, dir string) (*store, error)) {
		stores := make([]*store, 2)
		errs := make([]error, len(stores))
		var wg sync.WaitGroup
		for i := range stores {
			wg.Go(func() { stores[i], errs[i] = start(t.Context(), "") })
		}
		wg.Wait()
		for _, s := range stores {
			if s != nil {
				defer func() {
					if err := s.Stop(); err != nil { // the second time, unless the test ends early
						t.Error(err)
					}
				}()
			}
		}
		servertest.Check(t, errors.Join(errs...))
		for i, s := range stores {
			write(t, s, fmt.Sprint("mine-", i))
		}
		for i, s := range stores {
			wantTexts(t, s, fmt.Sprint("mine-", i))
			if err := s.Stop(); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s is still there after Stop: %v", s.dir, err)
			}
			if err := s.Stop(); err != nil {
				t.Errorf("second Stop: %v", err)
			}
			if err := s.Restart(t.Context()); err == nil {
				t.Error("Restart went on without the directory that Stop removed")
			}
		}
	})
}

// "A server that was started there before is started again with its data", and
// "ctx bounds the start": a start that is given up in between leaves neither a
// process (its lock on the data would stop the next one) nor a goroutine (Main
// looks).
func TestNamedDirectoryOutlivesServer(t *testing.T) {
	eachKind(t, func(t *testing.T, start func(ctx context.Context, dir string) (*store, error)) {
		dir := t.TempDir()
		first := open(t, dir, start)
		write(t, first, "kept")
		if err := first.Stop(); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if s, err := start(ctx, dir); !errors.Is(err, context.Canceled) {
			if s != nil {
				_ = s.Stop()
			}
			t.Fatalf("start under an ended context: %v, want it to wrap context.Canceled", err)
		}
		wantTexts(t, open(t, dir, start), "kept")
	})
}

// "A server that dies while starting is reported with the end of its log."
func TestDeathWhileStartingNamesTheCause(t *testing.T) {
	bad := map[string]string{"no_such_setting": "1"}
	badKafka := map[string]string{"num.partitions": "many"}
	for name, start := range map[string]func() error{
		"no_such_setting": func() error {
			_, err := servers.StartPostgres(t.Context(), servers.PostgresOptions{Settings: bad})
			return err
		},
		"no-such-setting": func() error {
			_, err := servers.StartMariaDB(t.Context(), servers.MariaDBOptions{Settings: bad})
			return err
		},
		"num.partitions": func() error {
			_, err := servers.StartKafka(t.Context(), servers.KafkaOptions{Settings: badKafka})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			err := start()
			if err == nil {
				t.Fatal("started with a setting that does not exist")
			}
			if errors.Is(err, servers.ErrMissing) {
				servertest.Check(t, err)
			}
			if !strings.Contains(err.Error(), name) {
				t.Fatalf("the error does not show the server's own words about %s: %v", name, err)
			}
		})
	}
}

// "What is not there is reported by an error that wraps ErrMissing."
func TestMissingProgramsAreNamed(t *testing.T) {
	empty := t.TempDir()
	_, errPG := servers.StartPostgres(t.Context(), servers.PostgresOptions{Bin: empty})
	_, errMaria := servers.StartMariaDB(t.Context(), servers.MariaDBOptions{Bin: empty})
	for program, err := range map[string]error{"initdb": errPG, "mariadbd": errMaria} {
		if !errors.Is(err, servers.ErrMissing) || !strings.Contains(err.Error(), program) || !strings.Contains(err.Error(), empty) {
			t.Errorf("%v: want ErrMissing that names %s and %s", err, program, empty)
		}
	}
}

func startPostgres(ctx context.Context, dir string) (*store, error) {
	p, err := servers.StartPostgres(ctx, servers.PostgresOptions{Dir: dir})
	if err != nil {
		return nil, err
	}
	query := func(ctx context.Context, statement string, args ...any) ([]string, error) {
		conn, err := pgx.Connect(ctx, p.DSN)
		if err != nil {
			return nil, err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		rows, err := conn.Query(ctx, statement, args...)
		if err != nil {
			return nil, err
		}
		return pgx.CollectRows(rows, pgx.RowTo[string])
	}
	return &store{server: p, dir: p.Dir,
		write: func(ctx context.Context, text string) error {
			if _, err := query(ctx, "create table if not exists notes (n serial, text text)"); err != nil {
				return err
			}
			_, err := query(ctx, "insert into notes (text) values ($1) returning text", text)
			return err
		},
		read: func(ctx context.Context) ([]string, error) { return query(ctx, "select text from notes order by n") },
	}, nil
}

func startMariaDB(ctx context.Context, dir string) (*store, error) {
	m, err := servers.StartMariaDB(ctx, servers.MariaDBOptions{Dir: dir})
	if err != nil {
		return nil, err
	}
	return sqlStore(m, m.Dir, m.DSN), nil
}

func sqlStore(s server, dir, dsn string) *store {
	with := func(use func(db *sql.DB) error) error {
		db, err := sql.Open("mysql", dsn)
		if err != nil {
			return err
		}
		return errors.Join(use(db), db.Close())
	}
	return &store{server: s, dir: dir,
		write: func(ctx context.Context, text string) error {
			return with(func(db *sql.DB) error {
				for _, ddl := range []string{"create database if not exists notes", "create table if not exists notes.notes (n int auto_increment primary key, text text)"} {
					if _, err := db.ExecContext(ctx, ddl); err != nil {
						return err
					}
				}
				_, err := db.ExecContext(ctx, "insert into notes.notes (text) values (?)", text)
				return err
			})
		},
		read: func(ctx context.Context) (texts []string, err error) {
			err = with(func(db *sql.DB) error {
				rows, err := db.QueryContext(ctx, "select text from notes.notes order by n")
				if err != nil {
					return err
				}
				defer rows.Close()
				for rows.Next() {
					var text string
					if err := rows.Scan(&text); err != nil {
						return err
					}
					texts = append(texts, text)
				}
				return rows.Err()
			})
			return texts, err
		},
	}
}

func startKafka(ctx context.Context, dir string) (*store, error) {
	k, err := servers.StartKafka(ctx, servers.KafkaOptions{Dir: dir})
	if err != nil {
		return nil, err
	}
	s := kafkaStore(k.Brokers, 1)
	s.server, s.dir = k, k.Dir
	return s, nil
}

// kafkaStore remembers texts in a topic of so many replicas.
func kafkaStore(brokers []string, replicas int16) *store {
	const topic = "notes"
	return &store{
		write: func(ctx context.Context, text string) error {
			client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic))
			if err != nil {
				return err
			}
			defer client.Close()
			if _, err := kadm.NewClient(client).CreateTopic(ctx, 1, replicas, nil, topic); err != nil && !strings.Contains(err.Error(), "TOPIC_ALREADY_EXISTS") {
				return err
			}
			return client.ProduceSync(ctx, kgo.StringRecord(text)).FirstErr()
		},
		read: func(ctx context.Context) ([]string, error) {
			client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.ConsumeTopics(topic))
			if err != nil {
				return nil, err
			}
			defer client.Close()
			ends, err := kadm.NewClient(client).ListEndOffsets(ctx, topic)
			if err != nil {
				return nil, err
			}
			end, _ := ends.Lookup(topic, 0)
			var texts []string
			for int64(len(texts)) < end.Offset {
				fetches := client.PollFetches(ctx)
				if err := fetches.Err(); err != nil {
					return nil, err
				}
				fetches.EachRecord(func(r *kgo.Record) { texts = append(texts, string(r.Value)) })
			}
			return texts, nil
		},
	}
}
