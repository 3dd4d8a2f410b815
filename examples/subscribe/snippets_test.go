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
	python := os.Getenv("TRUEUP_PYTHON")
	if python == "" {
		python = "python3"
	}
	if out, err := exec.CommandContext(t.Context(), python, "-c", "import confluent_kafka").CombinedOutput(); err != nil {
		t.Skipf("it compiles, and is not run: %s has no confluent-kafka (pip install confluent-kafka in a venv, and TRUEUP_PYTHON=venv/bin/python): %.200s", python, out)
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
	javac, err := exec.LookPath("javac")
	if err != nil {
		t.Skip("javac is not installed")
	}
	jar := kafkaClients(t)
	if jar == "" {
		t.Skip("no kafka-clients: mvn dependency:get -Dartifact=org.apache.kafka:kafka-clients:4.3.0")
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
	cmd := exec.CommandContext(t.Context(), javac, "-cp", jar, "-d", dir, source)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
}

// kafkaClients is the newest jar of Maven's local repository or of a Kafka that
// tests have fetched, empty where there is none.
func kafkaClients(t *testing.T) string {
	t.Helper()
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	cache := os.Getenv("TRUEUP_CACHE")
	if cache == "" {
		cache = "/var/cache/trueup" // root's
	}
	if os.Getenv("TRUEUP_CACHE") == "" && os.Geteuid() != 0 {
		if dir, err := os.UserCacheDir(); err == nil {
			cache = filepath.Join(dir, "trueup")
		}
	}
	for _, pattern := range []string{filepath.Join(home, ".m2/repository/org/apache/kafka/kafka-clients/*/kafka-clients-*.jar"), filepath.Join(cache, "*/*/libs/kafka-clients-*.jar"),
		filepath.Join(cache, "*/libs/kafka-clients-*.jar")} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			return found[len(found)-1]
		}
	}
	return ""
}
