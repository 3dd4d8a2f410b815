package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// textKey is a key that stores order in different ways: by case, by accents, by what
// stands beside letters. No two are the same where neither of these counts, nor blanks
// at the end.
func textKey(n int) string {
	prefixes := []string{"a", "B", "é", "Z", "ß", "-", "_", "~", "ä b", "0"}
	return prefixes[n%len(prefixes)] + fmt.Sprint(n*7919%99991)
}

// "Never compared is no data", and a row that is there is never absent for how a store
// orders its keys: text keys whose collations do not sort by bytes (by language, without
// case or accents, with padding) are read beside an application that writes, deletes,
// and spells keys otherwise. Then all keys are known, what is planted is found, and
// nothing else is.
func TestI11_I12_TextKeysInAnyCollation(t *testing.T) {
	const language, equalCase = `collate "und-x-icu"`, `collate ignoring_case`
	for _, c := range []struct{ legacy, legacyKey, target, targetKey string }{
		{"postgres", "text " + language, "mysql", "varchar(40) collate utf8mb4_0900_ai_ci"},
		{"mariadb", "varchar(40) collate utf8mb4_general_ci", "postgres", "text " + equalCase},
		{"mysql", "varchar(40) collate utf8mb4_bin", "postgres", "text collate \"C\""}, // pads; only the target is read in step
	} {
		t.Run(c.legacy+" to "+c.target, func(t *testing.T) {
			const rows = 2000
			stores := []*rowStore{openRowStore(t, c.legacy), openRowStore(t, c.target)}
			for i, key := range []string{c.legacyKey, c.targetKey} {
				s := stores[i]
				if s.driver == "postgres" {
					s.exec("create collation ignoring_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
					s.exec("alter table things alter column id type " + key)
				} else {
					s.exec("alter table things modify id " + key)
				}
				var all []string
				for n := range rows {
					all = append(all, fmt.Sprintf("('%s', 'old %d', 0.25)", textKey(n), n))
				}
				s.exec("insert into things values " + strings.Join(all, ", "))
			}
			want := map[string]string{textKey(100): "missing", textKey(202): "stale", "Extra": "rogue"}
			stores[1].exec("delete from things where id = '" + textKey(100) + "'")
			stores[1].exec("update things set v = 'other' where id = '" + textKey(202) + "'")
			stores[1].exec("insert into things values ('Extra', 'a', 1)")
			path := writeMigration(t, strings.Replace(fmt.Sprintf(thingsMigration, c.legacy, c.target, ", rowsPerSecond: 1000", stores[0].table, stores[1].table), "id: {type: integer}", "id: {type: text}", 1),
				stores[0].dsn, stores[1].dsn)
			runningPipeline(t, path)
			ctx, cancel := context.WithCancel(t.Context())
			var writing sync.WaitGroup
			writing.Go(func() {
				rng := rand.New(rand.NewPCG(1, 2))
				for n := 0; ctx.Err() == nil; n++ {
					key := textKey(1000 + rng.IntN(rows-1000))
					q := fmt.Sprintf("update things set v = 'changed %d' where id = '%s'", n, key)
					switch rng.IntN(6) {
					case 0:
						q = fmt.Sprintf("delete from things where id = '%s'", key)
					case 1:
						q = fmt.Sprintf("insert into things values ('%s', 'new', 0.5)", textKey(rows+n))
					case 2: // another key, which some of the stores take for the same: nobody writes to either otherwise
						key = textKey(500 + rng.IntN(500))
						q = fmt.Sprintf("update things set id = '%s' where id = '%s'", strings.ToUpper(key), key)
					}
					for _, s := range stores {
						if _, err := s.db.ExecContext(context.Background(), q); err != nil {
							t.Errorf("%s: %v", q, err)
							return
						}
					}
				}
			})
			out, complain, err := execute(t.Context(), "baseline", "-f", path, "--json")
			cancel()
			writing.Wait()
			if err != nil {
				t.Fatalf("%v\n%s\n%s", err, out, complain)
			}
			untilStatus(t, path, "every key is compared", func(s *statusFile) bool {
				return s.Keys.Compared >= rows/2 && s.Keys.Compared == s.Keys.Equal+s.Keys.Diverged && s.Keys.Diverged == int64(len(want)) && sum(s.Keys.Unknown) == 0 && s.Records.Behind == 0
			})
			found := openVerdicts(t, path)
			for _, key := range []string{textKey(202), "Extra"} { // where the follower's row is read first, or its range covered last
				if found[key] == "mismatch" {
					found[key] = want[key]
				}
			}
			if fmt.Sprint(found) != fmt.Sprint(want) {
				t.Errorf("found %v, want %v", found, want)
			}
			// Nor was anything else found on the way, of keys that nobody writes to.
			quiet := map[string]bool{}
			for n := range 500 {
				quiet[textKey(n)] = true
			}
			err = withLog(t.Context(), path, func(log *stream.Log) error {
				return readEvents(t.Context(), log, log.Topics().Divergences, func(e *schemas.Event) {
					if key := e.Divergence.Key[0]; quiet[key] && want[key] == "" {
						t.Errorf("%s was %s %s", key, e.Divergence.Stage, e.Divergence.Verdict)
					}
				})
			})
			if err != nil {
				t.Error(err)
			}
			s := untilStatus(t, path, "all keys are covered on both sides", func(s *statusFile) bool {
				return len(s.Ranges) == 1 && len(s.Ranges[0].Gaps) == 0 && len(s.Ranges[0].Covered) == 1 && len(s.Ranges[0].Covered[0].AsOf) == 2
			})
			for side, key := range map[string]string{"legacy": c.legacyKey, "target": c.targetKey} {
				if why := s.Sides[side].Baseline[0].Unordered; strings.Contains(why, "by collation") == strings.Contains(key, `"C"`) {
					t.Errorf("the %s has keys %s: %q", side, key, why)
				}
			}
		})
	}
}
