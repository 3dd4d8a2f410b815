package subscribe

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/stream"
)

// snippet is the program of docs/subscribe.md in a language, with its topic and
// broker as they stand there.
func snippet(t *testing.T, language, holds string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/subscribe.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if strings.Contains(m[1], holds) {
			return m[1]
		}
	}
	t.Fatalf("docs/subscribe.md has no %s with %q", language, holds)
	return ""
}

// The Python of docs/subscribe.md is Python, and where its client is installed it
// reads every event of a running broker once.
func TestThePythonOfThePage(t *testing.T) {
	if !installed(t, "python3") {
		t.Skip("python3 is not installed")
	}
	program := snippet(t, "python", "confluent_kafka")
	compiles := exec.CommandContext(t.Context(), "python3", "-c", "import sys; compile(sys.stdin.read(), 'subscribe.md', 'exec')")
	compiles.Stdin = strings.NewReader(program)
	if out, err := compiles.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	python, err := filepath.Abs("../../.cache/python/bin/python") // scripts/setup makes it
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import confluent_kafka").CombinedOutput(); err != nil {
		if os.Getenv("TRUEUP_REQUIRE_ALL") == "1" {
			t.Fatalf("no confluent-kafka (scripts/setup test): %v %s", err, out)
		}
		t.Skipf("it compiles, and is not run: no confluent-kafka (scripts/setup test): %v %.200s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	b := &bench{t: t, ctx: ctx, dir: t.TempDir()}
	b.log = stream.Config{Migration: "orders", DataDir: filepath.Join(b.dir, "broker"), Partitions: partitions, Port: freePort(t)}
	b.brokers = net.JoinHostPort("127.0.0.1", strconv.Itoa(b.log.Port))
	if !strings.Contains(program, "127.0.0.1:9092") {
		t.Fatalf("the broker is named otherwise:\n%s", program)
	}
	const handle = `
import os
def handle(id, event):
    assert event["kind"] == "divergence", event
    with open(os.environ["JOURNAL"], "a") as f:
        f.write(json.dumps({"id": id, "subject": event["entity"] + "/" + event["key"][0], "type": "io.trueup.divergence.opened.v1"}) + "\n")
`
	path := filepath.Join(b.dir, "subscriber.py")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll("import json\n"+handle+program, "127.0.0.1:9092", b.brokers)), 0o600); err != nil {
		t.Fatal(err)
	}
	b.run()
	defer kill(b.child)
	const keys = 60
	b.write(0, keys)
	b.write(keys, keys+30) // their progress makes the last ones due
	s := &subscriber{name: "python", journal: filepath.Join(b.dir, "python.jsonl"), dir: b.dir, said: b.file("python.log"),
		argv: []string{"env", "JOURNAL=" + filepath.Join(b.dir, "python.jsonl"), python, path}}
	b.start(s)
	defer s.kill()
	var want []string
	for n := range keys {
		if n%3 == 0 {
			want = append(want, "order/"+strconv.Itoa(n))
		}
	}
	b.await(s, want)
}

// The Java of docs/subscribe.md compiles against kafka-clients.
func TestTheJavaOfThePage(t *testing.T) {
	body := snippet(t, "java", "KafkaConsumer")
	if !installed(t, "javac", "mvn") {
		t.Skip("javac or mvn is not installed")
	}
	lib, err := servers.FetchKafka(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	source := filepath.Join(dir, "Subscriber.java")
	text := `import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

class Subscriber {
  static void handle(String id, String event) {}

  public static void main(String[] args) {
` + body + `  }
}
`
	if err := os.WriteFile(source, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "javac", "-cp", filepath.Join(lib, "*"), "-d", dir, source)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
}
