package runner

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
	"github.com/trueup-io/trueup/stream"
)

// The same on three nodes of Apache Kafka, of which one is killed while there is
// work, and comes back; then a leader is moved between those that live. "make group"
// has a member paused, too.
func TestI19_GroupOfProcessesOnAClusterOfKafka(t *testing.T) {
	t.Parallel()
	c, err := servers.StartKafkaCluster(t.Context())
	servertest.Check(t, err)
	t.Cleanup(func() { must(t, c.Stop()) })
	b := newBenchOn(t, stream.Config{Brokers: c.Brokers, Changelog: true})
	var killed *servers.Kafka
	churn(t, b, brokers{
		lose: func() {
			killed = c.Node(b.leader(0))
			must(t, killed.Kill())
		},
		regain: func() { must(t, killed.Restart(t.Context())) },
		move:   func() { b.moveLeader(0) },
		brief:  os.Getenv("TRUEUP_GROUP") == "",
	})
}

// leader is the broker that leads a partition of the changes topic.
func (b *bench) leader(partition int32) int32 {
	b.t.Helper()
	var id int32
	b.admin(func(a *kadm.Client) {
		topics, err := a.ListTopics(b.t.Context(), b.log.Topics().Changes)
		must(b.t, err)
		id = topics[b.log.Topics().Changes].Partitions[partition].Leader
	})
	return id
}

// moveLeader has another replica lead a partition, and waits until it does.
func (b *bench) moveLeader(partition int32) {
	b.t.Helper()
	topic, was := b.log.Topics().Changes, b.leader(partition)
	b.admin(func(a *kadm.Client) {
		topics, err := a.ListTopics(b.t.Context(), topic)
		must(b.t, err)
		replicas := slices.DeleteFunc(topics[topic].Partitions[partition].Replicas, func(id int32) bool { return id == was })
		var order kadm.AlterPartitionAssignmentsReq
		order.Assign(topic, partition, append(replicas, was))
		_, err = a.AlterPartitionAssignments(b.t.Context(), order)
		must(b.t, err)
		preferred := kadm.TopicsSet{}
		preferred.Add(topic, partition)
		for b.leader(partition) == was {
			if _, err := a.ElectLeaders(b.t.Context(), kadm.ElectPreferredReplica, preferred); err != nil {
				b.t.Logf("elect a leader: %v", err) // it may not be in sync yet
			}
			time.Sleep(100 * time.Millisecond) //nolint:forbidigo // a broker that was away has to catch up
		}
	})
}

func (b *bench) admin(do func(*kadm.Client)) {
	b.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(b.log.Brokers()...))
	must(b.t, err)
	defer client.Close()
	do(kadm.NewClient(client))
}
