package main

import (
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build: -ldflags "-X main.version=v1.2.3".
var version = "dev"

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), versionLine())
			return err
		},
	}
}

// versionLine is what "trueup version" and "trueup --version" print. A build that
// was given no version says which commit it is of, where Go knows that.
func versionLine() string {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return "trueup " + version
	}
	what := version
	if what == "dev" {
		what += commit(info.Settings)
	}
	return "trueup " + what + " " + info.GoVersion
}

func commit(settings []debug.BuildSetting) string {
	var revision, edited string
	for _, s := range settings {
		switch {
		case s.Key == "vcs.revision":
			revision = "-" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			edited = "+edited"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + edited
}
