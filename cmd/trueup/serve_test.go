package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A kill by another process reaches whoever asks the server.
func TestI35_ServeAndKill(t *testing.T) {
	dir := t.TempDir()
	at := "--data-dir=" + filepath.Join(dir, "registry")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	r, w := io.Pipe()
	root := newRoot()
	root.SetOut(w)
	root.SetErr(io.Discard)
	root.SetArgs([]string{"serve", "--listen", "127.0.0.1:0", "--lease", "1m", at})
	ended := make(chan error, 1)
	go func() { err := root.ExecuteContext(ctx); w.CloseWithError(err); ended <- err }()
	url, err := bufio.NewReader(r).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url = strings.TrimSpace(url)

	file := rolloutFile(t, dir, "orders", "off", "dual_write", "")
	out, err := rolloutOutput(t, "plan", "-f", file, at)
	id := planID.FindStringSubmatch(out)
	if err != nil || id == nil {
		t.Fatalf("have %s, %v", out, err)
	}
	if out, err := rolloutOutput(t, "apply", "-f", file, "--plan", id[1], "--why", "it is time", at); err != nil {
		t.Fatalf("have %s, %v", out, err)
	}
	client := &http.Client{}
	defer client.CloseIdleConnections()
	awaits := func(want string) {
		t.Helper()
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			resp, err := client.Post(url+"/ofrep/v1/evaluate/flags/orders", "application/json", strings.NewReader(`{"context":{"targetingKey":"42"}}`))
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err == nil && strings.Contains(string(body), want) {
				return
			}
			select {
			case <-ticker.C:
			case <-t.Context().Done():
				t.Fatalf("never %s, last %s", want, body)
			}
		}
	}
	awaits(`"reason":"STATIC","variant":"off"`)
	out, err = rolloutOutput(t, "kill", "orders", "--why", "the target is slow", at)
	if err != nil {
		t.Fatal(err)
	}
	pressed := time.Now()
	awaits(`"reason":"DISABLED","variant":"off"`)
	t.Logf("%sasked until %s after", out, time.Since(pressed).Round(time.Microsecond))
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeLetsNobodyInUnasked(t *testing.T) {
	for listen, ok := range map[string]bool{"127.0.0.1:0": true, "[::1]:0": true, "localhost:1": true, ":8017": false, "0.0.0.0:1": false, "flags.example:1": false, "x": false} {
		if err := onlyLoopback(listen); (err == nil) != ok {
			t.Errorf("%s: %v", listen, err)
		}
	}
}
