package main

import (
	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/schemas"
)

func newSchema() *cobra.Command {
	var events bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of migration.yaml",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema := schemas.SchemaJSON()
			if events {
				schema = schemas.EventsSchemaJSON()
			}
			_, err := cmd.OutOrStdout().Write(schema)
			return err
		},
	}
	cmd.Flags().BoolVar(&events, "events", false, "print that of the events on topics")
	return cmd
}
