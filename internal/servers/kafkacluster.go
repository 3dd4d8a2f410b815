package servers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// clusterNodes is how many nodes a cluster has: the least of which one can be
// missed.
const clusterNodes = 3

// KafkaCluster is three KRaft nodes of Apache Kafka on this machine, each broker
// and controller in one. What they hold is replicated three times and acknowledged
// by two; any one of them can be killed.
type KafkaCluster struct {
	Dir     string   // holds the nodes' directories
	Brokers []string // the nodes' addresses
	Nodes   []*Kafka // by id: Nodes[0] is broker 1

	dir directory
}

// clusterSettings win over those of a single node.
var clusterSettings = map[string]string{
	"default.replication.factor":                       "3",
	"min.insync.replicas":                              "2",
	"offsets.topic.replication.factor":                 "3",
	"transaction.state.log.replication.factor":         "3",
	"transaction.state.log.min.isr":                    "2",
	"share.coordinator.state.topic.replication.factor": "3",
	"share.coordinator.state.topic.min.isr":            "2",
	// A follower that was killed is missed after this long, and 30 s as shipped.
	"replica.lag.time.max.ms": "10000",
}

// clusterJVM: three of them share a small machine with what is tested.
var clusterJVM = []string{"-Xmx320m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"}

// StartKafkaCluster starts three nodes in a temporary directory and returns when
// all of them answer and know one another. ctx bounds the start. It takes about
// 1.2 GB of memory.
func StartKafkaCluster(ctx context.Context) (*KafkaCluster, error) {
	dir, err := privateDirectory("", "kafka-cluster", nil)
	if err != nil {
		return nil, err
	}
	c := &KafkaCluster{Dir: dir.path, dir: dir}
	id := newClusterID()
	for range startAttempts {
		if err = c.start(ctx, id); !errors.Is(err, errPortTaken) {
			break
		}
		err = errors.Join(err, c.stopNodes())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start a cluster of Kafka: %w", err), c.Stop())
	}
	return c, nil
}

// start formats the nodes if that was not done, and launches all on new ports.
func (c *KafkaCluster) start(ctx context.Context, id string) error {
	ports, err := freePorts(2 * clusterNodes)
	if err != nil {
		return err
	}
	at := make([]nodePorts, clusterNodes)
	for i := range at {
		at[i] = nodePorts{ports[2*i], ports[2*i+1]}
	}
	c.Nodes, c.Brokers = make([]*Kafka, clusterNodes), nil
	for i := range c.Nodes {
		o := KafkaOptions{Dir: c.dir.join(strconv.Itoa(i + 1)), JVM: clusterJVM}
		if c.Nodes[i], err = newKafkaNode(ctx, o, "kafka", i+1, id); err != nil {
			return err
		}
		if err := c.Nodes[i].listen(at, clusterSettings); err != nil {
			return err
		}
		c.Brokers = append(c.Brokers, c.Nodes[i].Brokers...)
	}
	ctx, cancel := startDeadline(ctx)
	defer cancel()
	// None answers before two are there.
	errs := make([]error, clusterNodes)
	var all sync.WaitGroup
	for i, n := range c.Nodes {
		all.Go(func() { n.server.proc, errs[i] = n.server.launch(ctx) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return c.awaitAll(ctx)
}

// awaitAll waits until each node knows of all.
func (c *KafkaCluster) awaitAll(ctx context.Context) error {
	for {
		err := c.complete(ctx)
		if err == nil {
			return nil
		}
		again := time.NewTimer(100 * time.Millisecond)
		select {
		case <-ctx.Done():
			again.Stop()
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-again.C:
		}
	}
}

func (c *KafkaCluster) complete(ctx context.Context) error {
	for _, broker := range c.Brokers {
		client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.RequestRetries(0), kgo.DialTimeout(2*time.Second))
		if err != nil {
			return err
		}
		meta, err := kadm.NewClient(client).BrokerMetadata(ctx)
		client.Close()
		if err != nil {
			return err
		}
		if len(meta.Brokers) != clusterNodes {
			return fmt.Errorf("%s knows of brokers %v", broker, meta.Brokers.NodeIDs())
		}
	}
	return nil
}

// Node returns the node of that broker id, as metadata names leaders.
func (c *KafkaCluster) Node(id int32) *Kafka { return c.Nodes[id-1] }

// Stop shuts all nodes down and removes their directories.
func (c *KafkaCluster) Stop() error {
	return errors.Join(c.stopNodes(), c.dir.discard())
}

// stopNodes kills them all at once: the last of a cluster cannot hand over its
// part, and what they hold is thrown away.
func (c *KafkaCluster) stopNodes() error {
	var errs []error
	for _, n := range c.Nodes {
		if n != nil {
			errs = append(errs, n.Kill())
		}
	}
	return errors.Join(errs...)
}
