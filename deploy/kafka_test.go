package deploy

import (
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/stream"
)

// kafkaProperties are the node's properties as its image makes them of the
// environment: KAFKA_LOG_DIRS is log.dirs.
func kafkaProperties(t *testing.T) map[string]string {
	t.Helper()
	properties := map[string]string{}
	for name, value := range service(t, composed(t), "kafka").Environment {
		name, ok := strings.CutPrefix(name, "KAFKA_")
		if ok && name != "HEAP_OPTS" {
			properties[strings.ReplaceAll(strings.ToLower(name), "_", ".")] = *value
		}
	}
	return properties
}

// listeners reads NAME://host:port,… by name.
func listeners(t *testing.T, list string) map[string]string {
	t.Helper()
	found := map[string]string{}
	for one := range strings.SplitSeq(list, ",") {
		name, address, ok := strings.Cut(one, "://")
		if !ok {
			t.Fatalf("listener %q", one)
		}
		found[name] = address
	}
	return found
}

// The node answers where the other containers, this machine and it itself look
// for it, and nowhere else.
func TestComposeKafkaListeners(t *testing.T) {
	p := kafkaProperties(t)
	listen, advertised := listeners(t, p["listeners"]), listeners(t, p["advertised.listeners"])
	for name, address := range listen {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`(^|,)` + name + `:PLAINTEXT(,|$)`).MatchString(p["listener.security.protocol.map"]) {
			t.Errorf("listener %s has no protocol", name)
		}
		want := "kafka:" + port
		switch name {
		case p["controller.listener.names"]:
			if got := p["controller.quorum.voters"]; got != p["node.id"]+"@localhost:"+port {
				t.Errorf("the quorum is %s, the controller listens on %s", got, port)
			}
			continue
		case "HOST":
			want = "127.0.0.1:" + port
			ports := service(t, composed(t), "kafka").Ports
			if len(ports) != 1 || ports[0].Published != port {
				t.Errorf("published are %v, advertised is %s", ports, want)
			}
		}
		if advertised[name] != want {
			t.Errorf("listener %s is advertised as %q, want %q", name, advertised[name], want)
		}
	}
	if listen[p["inter.broker.listener.name"]] == "" {
		t.Errorf("brokers talk over %q, which is no listener", p["inter.broker.listener.name"])
	}
}

// A real node takes the settings of docker-compose.yml, places apart, and the log
// can be made on it although it makes no topics by itself.
func TestComposeKafkaSettings(t *testing.T) {
	settings := kafkaProperties(t)
	for _, place := range []string{"listeners", "advertised.listeners", "listener.security.protocol.map", "inter.broker.listener.name",
		"controller.listener.names", "controller.quorum.voters", "log.dirs"} {
		if settings[place] == "" {
			t.Errorf("%s is not set", place)
		}
		delete(settings, place)
	}
	node, err := servers.StartKafka(t.Context(), servers.KafkaOptions{Settings: settings})
	servertest.Check(t, err)
	t.Cleanup(func() {
		if err := node.Stop(); err != nil {
			t.Error(err)
		}
	})
	log, err := stream.Open(t.Context(), stream.Config{Migration: "orders", Brokers: node.Brokers, Partitions: 8})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	w, err := log.Writer()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Write(t.Context(), stream.Record{Topic: log.Topics().Changes, Partition: 7, Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	ends, err := log.EndOffsets(t.Context(), log.Topics().Changes)
	if err != nil || !slices.Equal(ends, []int64{0, 0, 0, 0, 0, 0, 0, 1}) {
		t.Errorf("the log ends at %v, %v", ends, err)
	}
}
