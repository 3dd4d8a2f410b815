package servers

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// KafkaOptions say how to start one node of Apache Kafka. The zero value starts
// it in a temporary directory.
type KafkaOptions struct {
	// Dir holds the node's directory, Dir/kafka, which outlives Stop. A node that
	// was started there before is started again with its data. Empty: a temporary
	// directory, removed by Stop.
	Dir string
	// Settings are properties of the node, and win over ours.
	Settings map[string]string
	// JVM are options of the Java machine. Empty: a quick start and at most 512 MB
	// of heap, with the first compiler only; name the heap alone to measure speed.
	JVM []string
}

// Kafka is a running KRaft node of Apache Kafka, broker and controller in one.
// Its methods may be called from any goroutine.
type Kafka struct {
	Dir     string   // the node's own directory: data/ and log
	Brokers []string // one address, 127.0.0.1:PORT, plaintext; the same after Restart

	number int // in its cluster, from 1
	server *server
}

//go:embed kafka/log4j2.properties
var kafkaLogging []byte

// kafkaSettings are those of a single node: internal topics have one replica,
// and are small so that the first transaction does not wait for 50 partitions.
var kafkaSettings = map[string]string{
	"process.roles":                                    "broker,controller",
	"controller.listener.names":                        "CONTROLLER",
	"offsets.topic.replication.factor":                 "1",
	"offsets.topic.num.partitions":                     "4",
	"transaction.state.log.replication.factor":         "1",
	"transaction.state.log.min.isr":                    "1",
	"transaction.state.log.num.partitions":             "4",
	"share.coordinator.state.topic.replication.factor": "1",
	"share.coordinator.state.topic.min.isr":            "1",
	"group.initial.rebalance.delay.ms":                 "0",
	// A killed broker comes back when its old session is over: 9 s as shipped.
	"broker.session.timeout.ms":    "4000",
	"broker.heartbeat.interval.ms": "500",
	// Topics exist because somebody declared them, with their retention.
	"auto.create.topics.enable": "false",
}

// StartKafka starts a node and returns when it answers. ctx bounds the start, not
// the node's life. The first start on a machine fetches about 54 MB with Maven.
func StartKafka(ctx context.Context, o KafkaOptions) (*Kafka, error) {
	n, err := newKafkaNode(ctx, o, "kafka", 1, newClusterID())
	if err != nil {
		return nil, err
	}
	err = n.server.first(ctx, func() error {
		ports, err := freePorts(2)
		if err != nil {
			return err
		}
		return n.listen([]nodePorts{{ports[0], ports[1]}}, o.Settings)
	})
	if err != nil {
		return nil, err
	}
	return n, nil
}

// nodePorts are where a node listens as broker and as controller.
type nodePorts struct{ broker, controller int }

// newKafkaNode makes the directory of the node of that number, from 1, which has
// to be told where to listen before it is launched.
func newKafkaNode(ctx context.Context, o KafkaOptions, name string, number int, cluster string) (*Kafka, error) {
	java, err := exec.LookPath("java")
	if err != nil {
		return nil, fmt.Errorf("Kafka: java (17 or later): %w; %s", ErrMissing, howToInstall)
	}
	lib, err := FetchKafka(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := privateDirectory(o.Dir, name, nil)
	if err != nil {
		return nil, err
	}
	base := command{name: "Kafka", dir: dir.path, env: environment(dir), log: dir.join("log"), orphan: syscall.SIGKILL}
	jvm := slices.Concat([]string{java}, kafkaJVM(o.JVM),
		[]string{"-Dlog4j2.configurationFile=" + dir.join("log4j2.properties"), "-cp", filepath.Join(lib, "*")})

	k := &Kafka{Dir: dir.path, number: number}
	id, err := initKafka(ctx, base, jvm, dir, number, cluster)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start Kafka: %w", err), dir.discard())
	}
	k.server = &server{name: "Kafka", dir: dir,
		polite: []demand{{syscall.SIGTERM, 60 * time.Second}},
		launch: func(ctx context.Context) (*process, error) {
			c := base
			c.argv = append(slices.Clone(jvm), "kafka.Kafka", dir.join("server.properties"))
			proc, err := c.start()
			if err != nil {
				return nil, err
			}
			return await(ctx, proc, portTaken, func(ctx context.Context) error { return probeKafka(ctx, k.Brokers, id, number) })
		}}
	return k, nil
}

// listen says where the nodes of the cluster are, by number, this one among them.
func (k *Kafka) listen(nodes []nodePorts, more map[string]string) error {
	k.Brokers = []string{loopback(nodes[k.number-1].broker)}
	return writeProperties(k.server.dir.join("server.properties"), nodeSettings(k.server.dir, k.number, nodes, more))
}

// PID is the running node's process, 0 when none runs: to measure it, not to
// signal it.
func (k *Kafka) PID() int { return k.server.pid() }

// Stop shuts down in an orderly way and removes a temporary directory.
func (k *Kafka) Stop() error { return k.server.Stop() }

// Kill ends the node with SIGKILL.
func (k *Kafka) Kill() error { return k.server.Kill() }

// Restart starts the node again, after Kill or Stop or while it runs, on the same
// port. After Stop it needs a Dir that was named.
func (k *Kafka) Restart(ctx context.Context) error { return k.server.Restart(ctx) }

// initKafka formats the data directory and returns the cluster's id.
func initKafka(ctx context.Context, base command, jvm []string, dir directory, number int, cluster string) (id string, err error) {
	if err := os.WriteFile(dir.join("log4j2.properties"), kafkaLogging, 0o644); err != nil {
		return "", err
	}
	data, err := initOnce(dir, nil, func(fresh string) error {
		// The ports are not kept by formatting: any will do.
		properties := dir.join("format.properties")
		settings := nodeSettings(dir, number, slices.Repeat([]nodePorts{{portMin, portMin + 1}}, number), map[string]string{"log.dirs": fresh})
		if err := writeProperties(properties, settings); err != nil {
			return err
		}
		c := base
		c.name = "format Kafka's directory"
		c.argv = append(slices.Clone(jvm), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", properties)
		return c.run(ctx)
	})
	if err != nil {
		return "", err
	}
	return readClusterID(filepath.Join(data, "meta.properties"))
}

// kafkaJVM: the second compiler makes the start half as long again, and only pays
// in a node that works for minutes.
func kafkaJVM(chosen []string) []string {
	if len(chosen) > 0 {
		return chosen
	}
	return []string{"-Xmx512m", "-XX:TieredStopAtLevel=1"}
}

func nodeSettings(dir directory, number int, nodes []nodePorts, more map[string]string) map[string]string {
	settings := maps.Clone(kafkaSettings)
	own := nodes[number-1]
	settings["node.id"] = strconv.Itoa(number)
	settings["log.dirs"] = dir.join("data")
	settings["listeners"] = fmt.Sprintf("PLAINTEXT://%s,CONTROLLER://%s", loopback(own.broker), loopback(own.controller))
	settings["advertised.listeners"] = "PLAINTEXT://" + loopback(own.broker)
	voters := make([]string, len(nodes))
	for i, n := range nodes {
		voters[i] = fmt.Sprintf("%d@%s", i+1, loopback(n.controller))
	}
	settings["controller.quorum.voters"] = strings.Join(voters, ",")
	maps.Copy(settings, more)
	return settings
}

func writeProperties(path string, settings map[string]string) error {
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&text, "%s=%s\n", name, escape.Replace(settings[name]))
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

// probeKafka succeeds when the node of that cluster and number answers and can
// take part in transactions and groups.
func probeKafka(ctx context.Context, brokers []string, id string, number int) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.RequestRetries(0), kgo.DialTimeout(2*time.Second))
	if err != nil {
		return err
	}
	defer client.Close()
	meta, err := kadm.NewClient(client).BrokerMetadata(ctx)
	if err != nil {
		return err
	}
	if meta.Cluster != id {
		return fmt.Errorf("the broker at %v belongs to cluster %s, not %s", brokers, meta.Cluster, id)
	}
	if !slices.Contains(meta.Brokers.NodeIDs(), int32(number)) {
		return fmt.Errorf("broker %d is not among the registered ones %v", number, meta.Brokers.NodeIDs())
	}
	return nil
}
