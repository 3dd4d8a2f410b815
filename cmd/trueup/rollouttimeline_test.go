package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const endingMigration = `apiVersion: trueup/v1
kind: Migration
metadata: {name: baskets, owner: team-baskets}
entities:
  - {name: basket, key: [id], fields: {id: {type: integer}}}
deprecation: {what: the baskets table, deprecated: 2020-01-01, sunset: 2999-01-01, replacement: the basket service}
`

// What rollouts and migrations announce is printed in the order in which it comes, and published: for
// everybody where that was said, and otherwise for whoever is let in.
func TestRolloutTimeline(t *testing.T) {
	dir := t.TempDir()
	at := "--data-dir=" + filepath.Join(dir, "registry")
	run := func(args ...string) string {
		t.Helper()
		out, err := rolloutOutput(t, append(args, at)...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	migration := filepath.Join(dir, "migration.yaml")
	if err := os.WriteFile(migration, []byte(endingMigration), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := run("timeline"); out != "" {
		t.Errorf("have %s", out)
	}
	file := rolloutFile(t, dir, "orders", "off", "off", "deprecation: {what: the old orders API, deprecated: 2020-02-01, sunset: 2021-03-01, replacement: the new one, link: https://example.com/}")
	run("apply", "-f", file, "--plan", planID.FindStringSubmatch(run("plan", "-f", file))[1], "--why", "x", "--as", "ann")
	out := run("timeline", "--migration", migration)
	today := time.Now().UTC().Format(time.DateOnly)
	var order []string
	for line := range strings.Lines(out) {
		words := strings.Fields(line)
		order = append(order, words[0]+" "+words[1]+" "+words[2])
	}
	want := []string{"2020-01-01 deprecated past", "2020-02-01 deprecated past", "2021-03-01 sunset past", today + " announced past", today + " announced past", "2999-01-01 sunset in"}
	if fmt.Sprint(order) != fmt.Sprint(want) || !strings.Contains(out, "the baskets table (migration baskets, team-baskets): use the basket service") {
		t.Errorf("want %v, have %s", want, out)
	}
	if out := run("timeline", "--json"); strings.Count(out, `"kind":"moment"`) != 3 || !strings.Contains(out, `"phase":"sunset","past":true,"of":"rollout","name":"orders"`) {
		t.Errorf("have %s", out)
	}
	if out := run("timeline", "--page"); !strings.Contains(out, "the old orders API") || !strings.HasPrefix(out, "<!doctype html>") {
		t.Errorf("have %s", out)
	}
	if out := run("timeline", "--atom"); !strings.Contains(out, "<title>the old orders API has come to its end</title>") {
		t.Errorf("have %s", out)
	}

	tokens := filepath.Join(dir, "tokens")
	if err := os.WriteFile(tokens, fmt.Appendf(nil, "ann %x\n", sha256.Sum256([]byte("secret"))), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		flags         []string
		nobody, known int
	}{
		"this machine": {nil, http.StatusOK, http.StatusOK},
		"with tokens":  {[]string{"--tokens", tokens}, http.StatusUnauthorized, http.StatusOK},
		"published":    {[]string{"--tokens", tokens, "--publish"}, http.StatusOK, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			url, stop := served(t, append(c.flags, at, "--migration", migration)...)
			defer stop()
			client := &http.Client{}
			defer client.CloseIdleConnections()
			for token, want := range map[string]int{"": c.nobody, "secret": c.known} {
				for _, path := range []string{"/deprecations", "/deprecations.atom"} {
					q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, nil)
					if err != nil {
						t.Fatal(err)
					}
					if token != "" {
						q.Header.Set("Authorization", "Bearer "+token)
					}
					var code int
					var text string
					for { // the server begins to follow while it is asked already
						resp, err := client.Do(q)
						if err != nil {
							t.Fatal(err)
						}
						body, err := io.ReadAll(resp.Body)
						resp.Body.Close()
						if err != nil {
							t.Fatal(err)
						}
						if code, text = resp.StatusCode, string(body); code != http.StatusOK || strings.Contains(text, "the old orders API") {
							break
						}
					}
					if code != want || (want == http.StatusOK) != strings.Contains(text, "the baskets table") {
						t.Errorf("%s %q: want %d, have %d %s", path, token, want, code, text)
					}
				}
			}
			// The rest is for nobody that was not let in.
			if c.nobody == http.StatusOK && c.flags != nil {
				resp, err := client.Post(url+"/ofrep/v1/evaluate/flags/orders", "application/json", strings.NewReader(`{"context":{"targetingKey":"42"}}`))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusUnauthorized {
					t.Errorf("have %d", resp.StatusCode)
				}
			}
		})
	}
}

// served runs a server until it is stopped.
func served(t *testing.T, flags ...string) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	root := newRoot()
	root.SetOut(w)
	root.SetErr(io.Discard)
	root.SetArgs(append([]string{"serve", "--listen", "127.0.0.1:0"}, flags...))
	ended := make(chan error, 1)
	go func() { err := root.ExecuteContext(ctx); w.CloseWithError(err); ended <- err }()
	url, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(url), func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
