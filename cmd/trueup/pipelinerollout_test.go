package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/stream"
)

// "Verdicts know the authority": a rollout's steps come into the log of a running migration,
// repairs go from the side that has authority then, and a write under an epoch that has ended
// is named.
func TestVerdictsKnowTheAuthorityOfTheRollout(t *testing.T) {
	dir := t.TempDir()
	registry := filepath.Join(dir, "registry")
	r := newRepairing(t, [3]string{"", "postgres", "mariadb"}, `  - name: item
    key: [id]
    legacy: {table: LEGACY.item}
    target: {table: TARGET.item}
    fields: {id: {type: integer}, name: {type: text}}
    settleWindow: 500ms
    compensate: {mode: apply, policy: authority_wins}
rollout: {name: items, dataDir: `+registry+`}
`, map[string]string{"item": "id int primary key, name varchar(20)"}, "item")
	at := "--data-dir=" + registry
	epoch := 0
	move := func(stage, more string) {
		t.Helper()
		text := fmt.Sprintf("apiVersion: trueup/v1\nkind: Rollout\nmetadata: {name: items, owner: team}\ndescription: Items move.\ncontrols: routing\n"+
			"intent: permanent\nstage: %q\nsafeStage: shadow_read\n%s\n", stage, more)
		if stage == "off" || stage == "target_primary" {
			text = strings.Replace(text, "safeStage: shadow_read", fmt.Sprintf("safeStage: %q", stage), 1)
		}
		file := filepath.Join(dir, "items.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := rolloutOutput(t, "plan", "-f", file, at)
		id := planID.FindStringSubmatch(out)
		if id == nil {
			t.Fatalf("no plan: %s, %v", out, err)
		}
		args := []string{"apply", "-f", file, "--plan", id[1], "--why", "it is time", at}
		if epoch++; epoch > 1 {
			args = append(args, "--without-evidence", "items")
		}
		if out, err := rolloutOutput(t, args...); err != nil {
			t.Fatalf("%s, %v", out, err)
		}
	}
	ofLog := func(text string) bool {
		out, _, _ := execute(t.Context(), "log", "cat", "-f", r.path, "--partition", "1")
		return strings.Contains(out, text)
	}
	for _, stage := range []string{"off", "shadow", "dual_write", "shadow_read"} {
		move(stage, "")
	}
	r.until("the log has where the rollout stands", func() bool { return ofLog(`"stage":"shadow_read"`) })
	if !ofLog(`"stage":"dual_write"`) {
		t.Error("an epoch is left out")
	}
	r.exec(schemas.Legacy, "insert into item (id, name) values (1, 'a')")
	r.until("the target has what legacy wrote", func() bool {
		return fmt.Sprint(r.rows(schemas.Target, "select id, name from item")) == "[1 a]" && r.outcomes()["item confirmed"] == 1
	})

	move("ramp", "ramp: 100%")
	move("target_primary", "")
	r.until("the log has the hand-over", func() bool { return ofLog(`"stage":"target_primary"`) })
	r.exec(schemas.Target, "insert into item (id, name) values (2, 'b')")
	r.until("legacy has what the target wrote", func() bool {
		return fmt.Sprint(r.rows(schemas.Legacy, "select id, name from item order by id")) == "[1 a 2 b]" && r.outcomes()["item confirmed"] == 2
	})

	// Somebody goes on as if the ramp had never begun.
	r.exec(schemas.Legacy, `select pg_logical_emit_message(true, 'trueup', '{"flag_epoch":"items:4","service":"checkout"}')`,
		"update item set name = 'c' where id = 2")
	r.until("who writes by a gone epoch is named", func() bool {
		for _, e := range r.events(func(t stream.Topics) string { return t.Divergences }) {
			if d := e.Divergence; d.Verdict == schemas.SplitBrain {
				return d.Cause != nil && d.Cause.Tag.Service == "checkout" && d.Side == schemas.Target && d.RolloutEpoch == 6
			}
		}
		return false
	})
	out, err := rolloutOutput(t, "kill", "items", "--why", "it is enough", "--migration", r.path, "--watch", "1s", at)
	if err != nil || !strings.Contains(out, "no write under an older epoch committed in the 1s behind it") {
		t.Errorf("%s, %v", out, err)
	}
	r.until("its repair waits for a person", func() bool { return r.outcomes()["item proposed"] == 1 })

	// "Replaying gives byte-identical verdicts": from the topic, by a client of its own.
	audit, _, err := execute(t.Context(), "audit", "-f", r.path, "--json")
	if !strings.Contains(audit, `"missing":0,"extra":0,"changed":0`) || !strings.Contains(audit, `"split_brain":1`) {
		t.Errorf("the audit says, %v: %s", err, audit)
	}
}
