// Package openfeature holds a program that asks a Trueup server as any OpenFeature SDK does. Its test asks
// the same of the SDK for Go, whose provider evaluates in the process.
package openfeature

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/open-feature/go-sdk/openfeature"

	"github.com/trueup-io/trueup/rollout/follow"
	"github.com/trueup-io/trueup/rollout/follow/followtest"
	"github.com/trueup-io/trueup/rollout/ofrep"
	"github.com/trueup-io/trueup/rollout/provider"
	"github.com/trueup-io/trueup/rollout/registry"
)

// vector is a golden one: what a key is at, by a program of its own (rollout/testdata/vectors.py).
type vector struct {
	Salt, Stage string
	Key, Axes   []string
	Share       int

	flag string // that has this salt, stage and share
}

// vectors writes a flag for each definition that the golden vectors are of.
func vectors(t *testing.T, log *followtest.Log) (out []vector) {
	t.Helper()
	src, err := os.ReadFile("../../rollout/testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	if err := json.Unmarshal(src, &all); err != nil {
		t.Fatal(err)
	}
	flags := map[string]string{}
	for _, v := range all {
		if v.Salt == "" || len(v.Key) == 0 {
			continue // no file, or no request, has it
		}
		of := fmt.Sprintf("%q %s %d", v.Salt, v.Stage, v.Share)
		if flags[of] == "" {
			flags[of] = fmt.Sprintf("f%d", len(flags))
			define(t, log, flags[of], v)
		}
		v.flag = flags[of]
		out = append(out, v)
	}
	if len(out) < 100 {
		t.Fatalf("there are only %d vectors", len(out))
	}
	return out
}

// define takes a flag along the stages to where a vector has it.
func define(t *testing.T, log *followtest.Log, name string, v vector) {
	t.Helper()
	salt, err := json.Marshal(v.Salt)
	if err != nil {
		t.Fatal(err)
	}
	stages := []string{"off", "shadow", "dual_write", "shadow_read", "ramp", "target_primary", "complete"}
	for i, stage := range stages[:slices.Index(stages, v.Stage)+1] {
		ramp, safe := "", "dual_write"
		if stage == "ramp" {
			share := 100_000
			if v.Stage == "ramp" {
				share = v.Share
			}
			ramp = fmt.Sprintf(", ramp: %d.%03d%%", share/1000, share%1000)
		}
		if stage == "target_primary" || stage == "complete" {
			safe = "target_primary"
		}
		text := fmt.Sprintf(`{apiVersion: trueup/v1, kind: Rollout, metadata: {name: %s, owner: team}, description: Orders move.,
controls: routing, intent: permanent, stage: "%s", safeStage: %s, salt: %s%s}`, name, stage, safe, salt, ramp)
		if err := log.Write(registry.Change{Flag: name, Op: registry.Define, Base: uint64(i), Definition: text, WithoutEvidence: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// answer is what both SDKs say of a flag.
type answer struct {
	FlagKey      string         `json:"flagKey"`
	Value        string         `json:"value"`
	Variant      string         `json:"variant"`
	Reason       string         `json:"reason"`
	ErrorCode    string         `json:"errorCode"`
	FlagMetadata map[string]any `json:"flagMetadata"`
}

// "The OpenFeature JS SDK with its OFREP provider from npm, and the Go SDK, evaluate the same flags equally
// against the running server": the golden vectors, asked of both.
func TestBothSDKsEvaluateTheVectors(t *testing.T) {
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			if os.Getenv("TRUEUP_REQUIRE_ALL") == "1" {
				t.Fatalf("%s is not installed", name)
			}
			t.Skipf("%s is not installed", name)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	log := followtest.NewLog()
	asked := vectors(t, log)

	p := provider.New(provider.Config{Config: follow.Config{Source: log, Lease: 10 * time.Minute}})
	if err := openfeature.SetNamedProviderWithContextAndWait(ctx, t.Name(), p); err != nil {
		t.Fatal(err)
	}
	defer openfeature.Shutdown()
	client := openfeature.NewClient(t.Name())

	said := askNode(ctx, t, serve(ctx, t, log), asked)
	if len(said) != len(asked) {
		t.Fatalf("%d questions have %d answers", len(asked), len(said))
	}
	for i, v := range asked {
		here, err := client.StringValueDetails(ctx, v.flag, "the caller's default", openfeature.NewTargetlessEvaluationContext(map[string]any{"key": v.Key}))
		if err != nil {
			t.Fatal(err)
		}
		there := said[i]
		if there.FlagKey != v.flag || there.ErrorCode != "" || there.Value != here.Value || there.Variant != here.Variant || there.Reason != string(here.Reason) {
			t.Errorf("%+v: Node has %+v, Go has %+v", v, there, here)
		}
		for n, axis := range []string{"writes", "reads", "compare", "sync"} {
			if there.FlagMetadata[axis] != v.Axes[n] || here.FlagMetadata[axis] != v.Axes[n] {
				t.Errorf("%+v: Node has %v, Go has %v", v, there.FlagMetadata, here.FlagMetadata)
			}
		}
	}
}

// serve is the server that follows the log, once it knows everything.
func serve(ctx context.Context, t *testing.T, log *followtest.Log) (url string) {
	t.Helper()
	f := follow.New(follow.Config{Source: log, Lease: 10 * time.Minute})
	following, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- f.Run(following) }()
	server := httptest.NewServer((&ofrep.Server{Follower: f, Done: following}).Handler())
	t.Cleanup(func() {
		stop()
		server.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	followtest.Until(t, "all is known", func() bool {
		resp, err := http.Get(server.URL + "/readyz")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return server.URL
}

// askNode runs the program, as its page says, over all questions.
func askNode(ctx context.Context, t *testing.T, url string, asked []vector) (out []answer) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	if err := os.CopyFS(dir, os.DirFS("node")); err != nil {
		t.Fatal(err)
	}
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	if said, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, said)
	}
	var questions, answers, said bytes.Buffer
	for _, v := range asked {
		if err := json.NewEncoder(&questions).Encode(map[string]any{"flag": v.flag, "context": map[string]any{"key": v.Key}}); err != nil {
			t.Fatal(err)
		}
	}
	program := exec.CommandContext(ctx, "node", "evaluate.js", url)
	program.Dir, program.Stdin, program.Stdout, program.Stderr = dir, &questions, &answers, &said
	if err := program.Run(); err != nil {
		t.Fatalf("node: %v\n%s", err, said.String())
	}
	for lines := json.NewDecoder(&answers); lines.More(); {
		var a answer
		if err := lines.Decode(&a); err != nil {
			t.Fatal(err)
		}
		out = append(out, a)
	}
	return out
}
