package main

import (
	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/schemas"
)

func newSchema() *cobra.Command {
	var events, rollouts bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of migration.yaml, or of other forms",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema := schemas.SchemaJSON()
			switch {
			case events:
				schema = schemas.EventsSchemaJSON()
			case rollouts:
				schema = schemas.RolloutSchemaJSON()
			}
			_, err := cmd.OutOrStdout().Write(schema)
			return err
		},
	}
	cmd.Flags().BoolVar(&events, "events", false, "print that of the events on topics")
	cmd.Flags().BoolVar(&rollouts, "rollout", false, "print that of a rollout's file")
	cmd.MarkFlagsMutuallyExclusive("events", "rollout")
	return cmd
}
