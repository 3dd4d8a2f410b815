package ofrep_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/rollout/access"
	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/follow/followtest"
	"github.com/trueup-io/trueup/rollout/ofrep"
	"github.com/trueup-io/trueup/rollout/registry"
)

// world is a server that follows a log.
type world struct {
	log *followtest.Log
	f   *follow.Follower
	url string
}

func serve(t *testing.T, lease time.Duration, tokens ...string) *world {
	t.Helper()
	w := &world{log: followtest.NewLog()}
	w.f = follow.New(follow.Config{Source: w.log, Lease: lease})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.f.Run(ctx) }()
	s := &ofrep.Server{Follower: w.f, Done: ctx, Heartbeat: 20 * time.Millisecond}
	if tokens != nil {
		known := &access.Authority{}
		for _, token := range tokens {
			known.Tokens = append(known.Tokens, access.Token{Name: "ann", Sum: sha256.Sum256([]byte(token))})
		}
		s.Known = known.Known
	}
	server := httptest.NewServer(s.Handler())
	w.url = server.URL
	t.Cleanup(func() {
		cancel()
		server.CloseClientConnections()
		server.Close()
		http.DefaultClient.CloseIdleConnections()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return w
}

func (w *world) write(t *testing.T, changes ...registry.Change) {
	t.Helper()
	if err := w.log.Write(changes...); err != nil {
		t.Fatal(err)
	}
	end, _ := w.log.End(t.Context())
	followtest.Until(t, "all is known", func() bool { return w.f.View().Next == end && w.f.Fresh(time.Now()) })
}

func defined(name string, base uint64, stage, more string) registry.Change {
	safe := "dual_write"
	if stage == "target_primary" || stage == "complete" {
		safe = "target_primary"
	}
	return registry.Change{Flag: name, Op: registry.Define, Base: base, WithoutEvidence: true, Definition: fmt.Sprintf(
		`{apiVersion: trueup/v1, kind: Rollout, metadata: {name: %s, owner: team}, description: Orders move., controls: routing,
intent: permanent, stage: "%s", safeStage: "%s"%s}`, name, stage, safe, more)}
}

// ask posts and returns status, body and ETag; header is pairs.
func (w *world) ask(t *testing.T, path, body string, header ...string) (int, string, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header.Get("ETag")
}

const (
	one = "/ofrep/v1/evaluate/flags/a"
	all = "/ofrep/v1/evaluate/flags"
	who = `{"context":{"targetingKey":"42"}}`
)

// The same in server and core: the golden vectors, asked over HTTP.
func TestI31_TheServerEvaluatesTheVectors(t *testing.T) {
	src, err := os.ReadFile("../testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Salt, Stage string
		Key, Axes   []string
		Share       int
		Bucket      int
	}
	if err := json.Unmarshal(src, &vectors); err != nil {
		t.Fatal(err)
	}
	w := serve(t, time.Minute)
	stages := []string{"off", "shadow", "dual_write", "shadow_read", "ramp", "target_primary", "complete"}
	names := map[string]string{}
	asked := 0
	for _, v := range vectors {
		of := fmt.Sprintf("%q %s %d", v.Salt, v.Stage, v.Share)
		name, there := names[of]
		if !there {
			name = fmt.Sprintf("f%d", len(names))
			names[of] = name
			salt, err := json.Marshal(v.Salt)
			if err != nil || v.Salt == "" {
				delete(names, of)
				continue // no file has it
			}
			for i, stage := range stages {
				more := ", salt: " + string(salt)
				if stage == "ramp" {
					share := 100_000
					if v.Stage == "ramp" {
						share = v.Share
					}
					more += fmt.Sprintf(", ramp: %d.%03d%%", share/1000, share%1000)
				}
				if err := w.log.Write(defined(name, uint64(i), stage, more)); err != nil {
					t.Fatal(err)
				}
				if stage == v.Stage {
					break
				}
			}
			end, _ := w.log.End(t.Context())
			followtest.Until(t, "all is known", func() bool { return w.f.View().Next == end && w.f.Fresh(time.Now()) })
			if w.f.View().Flag(name) == nil || w.f.View().Flag(name).Rollout.Stage.String() != v.Stage {
				t.Fatalf("%s does not stand", of)
			}
		}
		context, err := json.Marshal(map[string]any{"context": map[string]any{"key": v.Key}})
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Key) == 0 {
			continue
		}
		code, body, _ := w.ask(t, all+"/"+name, string(context))
		var got struct {
			Metadata struct {
				Writes, Reads, Compare, Sync, Stage string
				Bucket                              int
			}
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusOK {
			t.Fatalf("%+v: %d %s %v", v, code, body, err)
		}
		axes := []string{got.Metadata.Writes, got.Metadata.Reads, got.Metadata.Compare, got.Metadata.Sync}
		if strings.Join(axes, " ") != strings.Join(v.Axes, " ") || got.Metadata.Bucket != v.Bucket || got.Metadata.Stage != v.Stage {
			t.Errorf("%+v: have %s", v, body)
		}
		asked++
	}
	if asked < 100 {
		t.Errorf("only %d vectors were asked", asked)
	}
}

func TestOneFlag(t *testing.T) {
	w := serve(t, time.Minute)
	w.write(t, defined("a", 0, "off", ""))
	for _, c := range []struct {
		path, body string
		code       int
		want       string
	}{
		{one, who, 200, `{"key":"a","reason":"STATIC","variant":"off","value":"off","metadata":{"authority":"legacy","bucket":`},
		{one, `{"context":{"targetingKey":"x","key":["t","1"]}}`, 200, `"value":"off"`},
		{all + "/b", who, 404, `{"key":"b","errorCode":"FLAG_NOT_FOUND"`},
		{one, ``, 400, `"errorCode":"PARSE_ERROR"`},
		{one, `[]`, 400, `"errorCode":"PARSE_ERROR"`},
		{one, who + "{}", 400, `"errorCode":"PARSE_ERROR"`},
		{one, `{}`, 400, `{"key":"a","errorCode":"TARGETING_KEY_MISSING"`},
		{one, `{"context":{"targetingKey":7}}`, 400, `"errorCode":"INVALID_CONTEXT"`},
		{one, `{"context":{"key":[]}}`, 400, `"errorCode":"INVALID_CONTEXT"`},
		{one, `{"context":{"key":["a",null]}}`, 400, `"errorCode":"INVALID_CONTEXT"`},
		{one, `{"context":{"key":["a",7]}}`, 400, `"errorCode":"INVALID_CONTEXT"`},
		{one, `{"context":"` + strings.Repeat("x", 1<<20) + `"}`, 413, `"errorCode":"PARSE_ERROR"`},
		{all, `{"context":{}}`, 400, `{"errorCode":"TARGETING_KEY_MISSING"`},
	} {
		if code, body, _ := w.ask(t, c.path, c.body); code != c.code || !strings.Contains(body, c.want) {
			t.Errorf("%s %.80s: want %d %s, have %d %s", c.path, c.body, c.code, c.want, code, body)
		}
	}
}

// What has not changed is not sent again, and a kill changes it.
func TestAllFlagsWithETag(t *testing.T) {
	w := serve(t, time.Minute)
	w.write(t, defined("a", 0, "off", ""))
	w.write(t, defined("b", 0, "off", ", lifecycle: draft"))
	code, body, tag := w.ask(t, all, who)
	if code != 200 || tag == "" || strings.Count(body, `"key":`) != 1 || !strings.Contains(body, `"eventStreams":[{"endpoint":{"requestUri":"/ofrep/v1/events"},"type":"sse"}]`) {
		t.Fatalf("have %d %s %s", code, tag, body)
	}
	for _, given := range []string{tag, "W/" + tag, `"x", ` + tag} {
		if code, body, again := w.ask(t, all, who, "If-None-Match", given); code != 304 || body != "" || again != tag {
			t.Errorf("%s: have %d %s %s", given, code, again, body)
		}
	}
	w.write(t, registry.Change{Flag: "a", Op: registry.Kill})
	code, body, after := w.ask(t, all, who, "If-None-Match", tag)
	if code != 200 || after == tag || !strings.Contains(body, `"reason":"DISABLED","variant":"off","value":"off"`) {
		t.Errorf("have %d %s %s", code, after, body)
	}
}

// A client of events hears of a kill, and of the server's being cut off; and then the
// server says what it is: stale, at the safe stage, not ready.
func TestI35_EventsSayKillAndStale(t *testing.T) {
	w := serve(t, 2*time.Second)
	w.write(t, defined("a", 0, "off", ""))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/ofrep/v1/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	told := "" // the last that the client was told
	awaits := func(what string) {
		t.Helper()
		if strings.HasPrefix(told, what) {
			return
		}
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "data: ") {
				told = lines.Text()
			}
			if strings.HasPrefix(lines.Text(), what) {
				return
			}
		}
		t.Fatalf("no %s: %v", what, lines.Err())
	}
	awaits("id: 1-true")
	if err := w.log.Write(registry.Change{Flag: "a", Op: registry.Kill}); err != nil {
		t.Fatal(err)
	}
	awaits(`data: {"type":"refetchEvaluation","etag":"2-`)
	w.log.Cut()
	awaits(`data: {"type":"refetchEvaluation","etag":"2-false"`)
	_, body, _ := w.ask(t, one, who)
	if !strings.Contains(body, `"value":"dual_write"`) || !strings.Contains(body, `"stale":true`) || !strings.Contains(body, `"reason":"UNKNOWN"`) {
		t.Errorf("have %s", body)
	}
	ready, err := http.Get(w.url + "/readyz") //nolint:noctx // the server is closed by the test
	if err != nil {
		t.Fatal(err)
	}
	defer ready.Body.Close()
	if text, _ := io.ReadAll(ready.Body); ready.StatusCode != 503 || !bytes.Contains(text, []byte("stale: ")) {
		t.Errorf("have %d %s", ready.StatusCode, text)
	}
}

// Nobody is let in who may not be.
func TestAdmission(t *testing.T) {
	open, closed := serve(t, time.Minute), serve(t, time.Minute, "first", "second")
	for _, c := range []struct {
		w      *world
		header []string
		want   int
	}{
		{open, nil, 404},
		{open, []string{"Host", "localhost:1"}, 404},
		{open, []string{"Host", "rebound.example"}, 403},
		{open, []string{"Origin", "https://other.example"}, 403},
		{open, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{closed, nil, 401},
		{closed, []string{"Authorization", "Bearer third"}, 401},
		{closed, []string{"Authorization", "Bearer "}, 401},
		{closed, []string{"Authorization", "Bearer second", "Host", "flags.example"}, 404},
		{closed, []string{"X-API-Key", "first"}, 404},
	} {
		if code, body, _ := c.w.ask(t, one, who, c.header...); code != c.want {
			t.Errorf("%v: want %d, have %d %s", c.header, c.want, code, body)
		}
	}
}
