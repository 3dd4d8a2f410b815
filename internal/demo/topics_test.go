package demo

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

// "It leaves nothing behind": on brokers that are not ours, the demo's topics and
// groups go, and nobody else's.
func TestTopicsAreRemoved(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "trueup.orders-demo-7-1.changes", "trueup.orders-demo-7-1.divergences",
		"trueup.orders-demo-7-11.changes", "trueup.orders.changes", "somebody.else"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	for _, group := range []string{"trueup.orders-demo-7-1.reconcile", "trueup.orders.reconcile"} {
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: "trueup.orders.changes", Partition: 0, At: 0})
		if err := admin.CommitAllOffsets(t.Context(), group, offsets); err != nil {
			t.Fatal(err)
		}
	}
	member, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics("trueup.orders-demo-7-1.changes"),
		kgo.ConsumerGroup("trueup.orders-demo-7-1.reconcile"), kgo.InstanceID("one"))
	if err != nil {
		t.Fatal(err)
	}
	for groups := (kadm.DescribedGroups{}); len(groups["trueup.orders-demo-7-1.reconcile"].Members) == 0; {
		if groups, err = admin.DescribeGroups(t.Context(), "trueup.orders-demo-7-1.reconcile"); err != nil {
			t.Fatal(err)
		}
	}
	member.Close() // it has a name, so it does not leave

	if err := removeTopics(cluster.ListenAddrs(), "orders-demo-7-1"); err != nil {
		t.Fatal(err)
	}
	topics, err := admin.ListTopics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	left := topics.Names()
	slices.Sort(left)
	if want := []string{"somebody.else", "trueup.orders-demo-7-11.changes", "trueup.orders.changes"}; !slices.Equal(left, want) {
		t.Errorf("topics left: %q, want %q", left, want)
	}
	groups, err := admin.ListGroups(t.Context())
	if err != nil || !slices.Equal(groups.Groups(), []string{"trueup.orders.reconcile"}) {
		t.Errorf("groups left: %q (%v)", groups.Groups(), err)
	}
}
