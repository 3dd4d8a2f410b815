package main

import (
	"github.com/spf13/cobra"

	"github.com/trueup-io/trueup/schemas"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of migration.yaml",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(schemas.SchemaJSON())
			return err
		},
	}
}
