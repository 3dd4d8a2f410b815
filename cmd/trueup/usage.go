package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// onlyGroup marks a command that does nothing without one of its own: its help
// has no line for it alone.
const onlyGroup = "only-group"

// complete gives every command of the tree the same answers to a call that it
// cannot follow: each names the word that is wrong or missing and the form that
// is right, and none exits 0, which would read as clean.
func complete(root *cobra.Command) {
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w: see %q", plainFlagError(err), cmd.CommandPath()+" --help")
	})
	root.SetUsageTemplate(strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not (index .Annotations "+strconv.Quote(onlyGroup)+"))}}", 1))
	root.SuggestionsMinimumDistance = 2
	root.Annotations = map[string]string{onlyGroup: "yes"}
	root.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return unknownCommand(args[0], cmd.SuggestionsFor(args[0]))
	}
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "help" {
			cmd.Args = knownTopic
			continue
		}
		strict(cmd)
	}
}

func strict(cmd *cobra.Command) {
	switch {
	case cmd.HasSubCommands() && !cmd.Runnable():
		cmd.Args = wantSubcommand // before its required flags are looked at
		cmd.RunE = func(*cobra.Command, []string) error { return nil }
		cmd.Annotations = map[string]string{onlyGroup: "yes"}
		cmd.SuggestionsMinimumDistance = 2
	case cmd.Args == nil:
		cmd.Args = namingForm(cobra.ArbitraryArgs)
	default:
		cmd.Args = namingForm(cmd.Args)
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

// wantSubcommand is what a command that is only a group of others does.
func wantSubcommand(cmd *cobra.Command, args []string) error {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	group := strings.TrimPrefix(cmd.CommandPath(), "trueup ")
	want := "want one of " + strings.Join(names, ", ")
	if len(names) == 1 {
		want = "want " + names[0]
	}
	if len(args) == 0 {
		return fmt.Errorf("%s: %s: see %q", group, want, cmd.CommandPath()+" --help")
	}
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		want = fmt.Sprintf("did you mean %s? %s", near[0], want)
	}
	return fmt.Errorf("%s %s: there is no such command: %s", group, args[0], want)
}

// namingForm has what fits says of a call's words name the word and the form.
// Flags that are required are looked at here, since cobra would name them by
// their long names alone.
func namingForm(fits cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := fits(cmd, args); err != nil {
			for n := range args {
				if fits(cmd, args[:n]) == nil {
					return fmt.Errorf("%q is one word too many: the form is %q", args[n], form(cmd))
				}
			}
			return fmt.Errorf("a word is missing: the form is %q", form(cmd))
		}
		var missing []string
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Annotations[cobra.BashCompOneRequiredFlag] != nil && !f.Changed {
				name := "--" + f.Name
				if f.Shorthand != "" {
					name = "-" + f.Shorthand
				}
				missing = append(missing, fmt.Sprintf("%s is missing (%s)", name, f.Usage))
			}
		})
		if len(missing) == 0 {
			return nil
		}
		return fmt.Errorf("%s: the form is %q", strings.Join(missing, ", "), form(cmd))
	}
}

// form is how a command is called, without the word that stands for all flags.
func form(cmd *cobra.Command) string { return strings.TrimSuffix(cmd.UseLine(), " [flags]") }

// unknownCommand is the answer to a first word that is no command.
func unknownCommand(word string, near []string) error {
	if len(near) > 0 {
		return fmt.Errorf("%s: there is no such command: did you mean %s?", word, strings.Join(near, " or "))
	}
	return fmt.Errorf("%s: there is no such command: see \"trueup --help\"", word)
}

// knownTopic has "trueup help" refuse what it could not tell anything of.
func knownTopic(cmd *cobra.Command, args []string) error {
	found, rest, err := cmd.Root().Find(args)
	switch {
	case err != nil:
		return err
	case len(rest) == 0:
		return nil
	case found == cmd.Root():
		return unknownCommand(rest[0], found.SuggestionsFor(rest[0]))
	case found.HasSubCommands():
		return wantSubcommand(found, rest)
	}
	return nil // arguments of the command that is asked about
}

// plainFlagError leaves out what a function of Go said of a value.
func plainFlagError(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	return fmt.Errorf("--%s %q: want %s", bad.GetFlag().Name, bad.GetValue(), takes(bad.GetFlag()))
}

// takes says what a flag takes.
func takes(f *pflag.Flag) string {
	switch t := f.Value.Type(); t {
	case "int", "int64":
		return "a whole number"
	case "uint", "uint64":
		return "a whole number, not below 0"
	case "duration":
		return "a length of time, such as 30s or 5m"
	case "bool":
		return "true or false"
	default:
		return "a value of type " + t
	}
}
