package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/internal/inert"
	"github.com/trueup-io/trueup/schemas"
	"github.com/trueup-io/trueup/subscribe/webhook"
)

func newWebhooks() *cobra.Command {
	cmd := &cobra.Command{Use: "webhooks", Short: "See to events that a webhook's receiver did not take"}
	var file string
	redeliver := &cobra.Command{
		Use:   "redeliver NAME -f migration.yaml",
		Short: "Post a webhook's dead letters once more",
		Long: `Redeliver posts the events that were given up once more, in their order, under
the same ids, and says what became of each. What is not taken stays a dead
letter. It runs where "trueup run" posts, beside it or without it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return redeliverWebhook(cmd, file, args[0]) },
	}
	fileFlag(redeliver, &file)
	cmd.AddCommand(redeliver)
	return cmd
}

func redeliverWebhook(cmd *cobra.Command, file, name string) error {
	m, err := loadMigration(file)
	if err != nil {
		return err
	}
	hooks := m.Subscribe.Webhooks
	i := slices.IndexFunc(hooks, func(c *schemas.WebhookConfig) bool { return c.Name == name })
	if i < 0 {
		return fmt.Errorf("%s has no webhook %s", m.Path, name)
	}
	cfg, err := webhookConfig(m, hooks[i], nil)
	if err != nil {
		return err
	}
	left := 0
	err = webhook.Redeliver(cmd.Context(), cfg, func(id, problem string) {
		if problem == "" {
			problem = "taken"
		} else {
			left++
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", inert.Text(id), inert.Line(problem))
	})
	if err == nil && left > 0 {
		err = fmt.Errorf("%d events were not taken and stay in %s", left, webhook.DeadLetters(m.DataDir, name))
	}
	return err
}
