package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Changes over HTTP, by people of a file, on the topic itself; the checkpoint that the server
// signs is one that the command verifies by.
func TestI37_ServeChanges(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	tokens := ""
	for _, who := range []string{"ann", "bob"} {
		tokens += fmt.Sprintf("%s %x roles=operator,approver,viewer\n", who, sha256.Sum256([]byte("token of "+who)))
	}
	tokens = write("tokens", tokens)
	policy := write("access.yaml", `apiVersion: trueup/v1
kind: Access
grants:
  - {role: operator, to: ann, owners: team-orders}
  - {role: approver, to: bob, rollouts: orders}
  - {role: viewer, to: bob}
`)
	at, key := "--data-dir="+filepath.Join(dir, "registry"), "--audit-dir="+filepath.Join(dir, "audit")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	root := newRoot()
	root.SetOut(w)
	root.SetErr(io.Discard)
	root.SetArgs([]string{"serve", "--listen", "127.0.0.1:0", "--tokens", tokens, "--access", policy, at, key})
	ended := make(chan error, 1)
	go func() { err := root.ExecuteContext(ctx); w.CloseWithError(err); ended <- err }()
	url, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url = strings.TrimSpace(url)
	client := &http.Client{}
	defer client.CloseIdleConnections()
	ask := func(who, method, path string, body map[string]any, want string) string {
		t.Helper()
		text, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		q, err := http.NewRequestWithContext(ctx, method, url+path, strings.NewReader(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		q.Header.Set("Authorization", "Bearer token of "+who)
		resp, err := client.Do(q)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		said, err := io.ReadAll(resp.Body)
		if err != nil || !strings.Contains(string(said), want) {
			t.Fatalf("%s %s: want %s, have %d %s, %v", who, path, want, resp.StatusCode, said, err)
		}
		return string(said)
	}
	apply := func(stage, want string) {
		t.Helper()
		text, err := os.ReadFile(rolloutFile(t, dir, "orders", stage, "off", "governance: {approvals: {shadow: 1}}"))
		if err != nil {
			t.Fatal(err)
		}
		files := []string{string(text)}
		var plan struct{ ID string }
		if err := json.Unmarshal([]byte(ask("ann", "POST", "/v1/plan", map[string]any{"definitions": files}, `"id"`)), &plan); err != nil {
			t.Fatal(err)
		}
		ask("ann", "POST", "/v1/apply", map[string]any{"definitions": files, "plan": plan.ID, "why": "it is time"}, want)
		ask("ann", "POST", "/v1/approve", map[string]any{"definitions": files, "why": "x"}, "ann may not approve orders")
		ask("ann", "POST", "/v1/apply", map[string]any{"definitions": files, "plan": plan.ID, "why": "x", "without_evidence": []string{"orders"}}, "error")
	}
	apply("off", `"place":"off"`)
	apply("shadow", "nothing was measured")
	ask("bob", "POST", "/v1/kill", map[string]any{"flags": []string{"orders"}, "why": "the target is slow"}, `"killed":{`)
	ask("bob", "GET", "/v1/history", nil, `"who":"bob","why":"the target is slow"`)
	ask("nobody", "GET", "/v1/rollouts", nil, "a bearer token is needed")
	signed := write("kept", ask("bob", "GET", "/v1/audit/checkpoint", nil, "trueup-rollouts-rollouts\n3\n"))
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	out, err := rolloutOutput(t, "audit", "verify", at, key, "--checkpoint", signed)
	if err != nil || out != "intact: 3 records, of which checkpoints cover 3\n" {
		t.Errorf("have %s, %v", out, err)
	}
}
