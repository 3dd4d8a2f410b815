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
		if _, err := admin.DeleteGroup(ctx, group); err != nil {
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
