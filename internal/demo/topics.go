package demo

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// removeTopics removes what a demo's migration left on brokers that are not
// ours: its topics and its consumer groups.
func removeTopics(brokers []string, migration string) error {
	const limit = 30 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...))
	if err != nil {
		return fmt.Errorf("remove the demo's topics: %w", err)
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	prefix := "trueup." + migration
	ours := func(name string) bool { return name == prefix || strings.HasPrefix(name, prefix+".") }

	groups, err := admin.ListGroups(ctx)
	if err != nil {
		return fmt.Errorf("list the demo's consumer groups: %w", err)
	}
	for _, group := range groups.Groups() {
		if !ours(group) {
			continue
		}
		if err := removeGroup(ctx, admin, group); err != nil {
			return fmt.Errorf("remove consumer group %s: %w", group, err)
		}
	}
	topics, err := admin.ListTopics(ctx)
	if err != nil {
		return fmt.Errorf("list the demo's topics: %w", err)
	}
	for _, topic := range topics.Names() {
		if !ours(topic) {
			continue
		}
		if _, err := admin.DeleteTopic(ctx, topic); err != nil {
			return fmt.Errorf("remove topic %s: %w", topic, err)
		}
	}
	return nil
}

// removeGroup removes a group of members that are gone. Those with a name of
// their own do not leave when they stop: they are shown out.
func removeGroup(ctx context.Context, admin *kadm.Client, group string) error {
	described, err := admin.DescribeGroups(ctx, group)
	if err != nil {
		return err
	}
	var named []string
	for _, member := range described[group].Members {
		if member.InstanceID != nil {
			named = append(named, *member.InstanceID)
		}
	}
	if len(named) > 0 {
		if _, err := admin.LeaveGroup(ctx, kadm.LeaveGroup(group).Reason("the demo is over").InstanceIDs(named...)); err != nil {
			return err
		}
	}
	_, err = admin.DeleteGroup(ctx, group)
	return err
}
