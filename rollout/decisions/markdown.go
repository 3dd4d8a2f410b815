package decisions

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/trueup-io/trueup/rollout"
	"github.com/trueup-io/trueup/rollout/registry"
	"github.com/trueup-io/trueup/schemas"
)

// Markdown writes the decision in the form of MADR 4 (https://adr.github.io/madr/).
func (d *Decision) Markdown() string {
	var b strings.Builder
	from, to := "nothing", d.Is.Flag.Place().String()
	if d.Was != nil {
		from = d.Was.Flag.Place().String()
	}
	r := d.Is.Rollout
	fmt.Fprintf(&b, "---\nstatus: accepted\ndate: %s\ndecision-makers: [%s]\n", d.Event.At.UTC().Format(time.DateOnly), strconv.Quote(d.Event.Who))
	if names := d.approvers(); len(names) > 0 {
		fmt.Fprintf(&b, "consulted: [%s]\n", strings.Join(names, ", "))
	}
	fmt.Fprintf(&b, "---\n\n# %s: %s, from %s to %s\n\n## Context and Problem Statement\n\n", d.Flag, d.Change.Op, from, to)
	fmt.Fprintf(&b, "%s is a %s rollout of %s.", d.Flag, r.Controls, plain(r.Owner))
	if r.Description != "" {
		fmt.Fprintf(&b, " %s", plain(r.Description))
	}
	if r.Governance.Escalation != "" {
		fmt.Fprintf(&b, " When the owner does not answer: %s.", plain(r.Governance.Escalation))
	}
	fmt.Fprintf(&b, "\n\nIt stood at %s. %s said at %s: %s\n", from, plain(d.Event.Who), d.Event.At.UTC().Format(time.RFC3339), plain(d.Event.Why))
	b.WriteString("\n## Decision Drivers\n\n")
	d.drivers(&b)
	b.WriteString("\n## Considered Options\n\n")
	d.options(&b, from)
	fmt.Fprintf(&b, "\n## Decision Outcome\n\nChosen: %s to %s. Revision %d, epoch %d.\n", d.Change.Op, to, d.Is.Revision, d.Is.Epoch)
	b.WriteString("\n### Consequences\n\n")
	d.consequences(&b)
	b.WriteString("\n### Confirmation\n\n")
	d.agreement(&b)
	fmt.Fprintf(&b, "\n## More Information\n\n- Event %s is record %d of the registry's topic.\n- Tree head over records 0 to %d: `%s`\n",
		plain(d.Event.ID), d.Offset, d.Offset, d.Root)
	if r.Decision != "" {
		fmt.Fprintf(&b, "- The rollout itself was decided in %s\n", plain(r.Decision))
	}
	return b.String()
}

func (d *Decision) drivers(b *strings.Builder) {
	if d.Change.Op == registry.Rollback {
		fmt.Fprintf(b, "- What took it back: %s\n", plain(d.Change.Trigger))
		results(b, d.Change.Results)
	} else if e, ok := d.Evaluation(); ok {
		fmt.Fprintf(b, "- The gate of %s, by what was measured at %s: **%s**\n", e.Stage, e.Measured.At.UTC().Format(time.RFC3339), e.Verdict)
		results(b, e.Results)
	} else {
		b.WriteString("- Nothing that was measured stands with the event.\n")
	}
	d.looked(b)
	if d.Change.Measured == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(d.Change.Measured.Samples)) {
		s := d.Change.Measured.Samples[name]
		fmt.Fprintf(b, "- Measured: %s is %s\n", plain(name), sampleText(s))
	}
}

// looked is what was found of whether it fits.
func (d *Decision) looked(b *strings.Builder) {
	if d.Change.Compatibility == nil {
		return
	}
	for _, c := range d.Change.Compatibility.Checks {
		fmt.Fprintf(b, "- Whether %s fits, looked at %s: **%s**\n", plain(c.CompatibilityCheck.String()), d.Change.Compatibility.At.UTC().Format(time.RFC3339), plain(string(c.Verdict())))
		for _, in := range c.Inputs {
			fmt.Fprintf(b, "  - By %s, SHA-256 `%s`\n", plain(in.Name), plain(in.SHA256))
		}
		for i := range c.Findings {
			fmt.Fprintf(b, "  - %s: %s\n", plain(string(c.Findings[i].Level)), plain(c.Findings[i].String()))
		}
	}
}

// sampleText writes a sample; a share is one by its count, as a value has none.
func sampleText(s rollout.Sample) string {
	text := fmt.Sprintf("%s, of %d samples", strconv.FormatFloat(float64(s.Value), 'g', -1, 64), s.Of)
	if s.Count > 0 {
		text = fmt.Sprintf("%d of %d", s.Count, s.Of)
	}
	if s.Problem != "" {
		text += " (partial: " + plain(s.Problem) + ")"
	}
	return text
}

func results(b *strings.Builder, of []rollout.Result) {
	for _, r := range of {
		fmt.Fprintf(b, "  - %s: `%s` over %s: **%s**", plain(r.Criterion), strings.Join(strings.Fields(r.Condition), " "), r.Window, r.Verdict)
		if r.Reason != "" {
			fmt.Fprintf(b, " (%s)", plain(r.Reason))
		}
		for _, name := range slices.Sorted(maps.Keys(r.Bounds)) {
			v := r.Bounds[name]
			fmt.Fprintf(b, "; %s from %g to %g", plain(name), float64(v.Low), float64(v.High))
		}
		b.WriteString("\n")
	}
}

func (d *Decision) options(b *strings.Builder, from string) {
	forward := "its gate was not judged"
	if e, ok := d.Evaluation(); ok {
		forward = "its gate said " + string(e.Verdict)
	}
	if d.Change.WithoutEvidence {
		forward = "without evidence, which was taken upon himself by who decided"
	}
	fmt.Fprintf(b, "- Promote: %s\n- Hold at %s: needs no evidence\n- Roll back: needs no evidence", forward, from)
	if len(d.Change.Results) > 0 {
		fmt.Fprintf(b, "; its trigger was judged as above")
	}
	b.WriteString("\n")
}

func (d *Decision) consequences(b *strings.Builder) {
	place := d.Is.Flag.Place()
	axes := rollout.AxesOf(place.Stage, place.Stage >= schemas.StageTargetPrimary)
	switch {
	case place.Stage == schemas.StageRamp:
		fmt.Fprintf(b, "- The target has authority for %s of the keys, and legacy for the others; pins stand beside that.\n", place.Ramp)
	default:
		fmt.Fprintf(b, "- %s has authority for all keys; writes go by %s.\n", axes.Authority(), axes.Writes)
	}
	if len(d.Change.Keys) > 0 {
		fmt.Fprintf(b, "- %d keys alone went back to legacy; all others stay where they were.\n", len(d.Change.Keys))
	}
	switch {
	case place.Stage == schemas.StageComplete:
		b.WriteString("- There is no way back: legacy misses every write from here on.\n")
	case place.Stage == schemas.StageRamp || axes.Sync == rollout.SyncTargetToLegacy:
		b.WriteString("- Going back loses those of the target's writes that have not reached legacy then: `trueup rollout undo-cost` counts them.")
		if d.Change.Op != registry.Rollback { // whose reason says so
			b.WriteString(" Events do not say how many.")
		}
		b.WriteString("\n")
	default:
		b.WriteString("- Going back loses nothing that legacy has.\n")
	}
}

func (d *Decision) agreement(b *strings.Builder) {
	said := false
	if d.Was != nil {
		for _, a := range d.approvals() {
			said = true
			fmt.Fprintf(b, "- Approved by %s (record %d): %s\n", plain(a.Who), d.Indexes[a.Event], plain(a.Why))
		}
		for _, o := range d.Was.Objections {
			said = true
			fmt.Fprintf(b, "- Objection of %s (record %d), not resolved then: %s\n", plain(o.Who), d.Indexes[o.Event], plain(o.Why))
		}
	}
	if d.Change.BreakGlass {
		said = true
		b.WriteString("- The glass was broken: it needed no agreement.\n")
	}
	if !said {
		b.WriteString("- Nobody else had said anything to it.\n")
	}
}

// approvals are those of exactly this change that stood when it was made, old ones too.
func (d *Decision) approvals() (out []registry.Approval) {
	if d.Was == nil || d.Change.Op != registry.Define && d.Change.Op != registry.Revive {
		return nil
	}
	for _, a := range d.Was.Approvals {
		if a.Definition == d.Change.Definition && a.Who != d.Event.Who && (a.WithoutEvidence || !d.Change.WithoutEvidence) {
			out = append(out, a)
		}
	}
	return out
}

func (d *Decision) approvers() (out []string) {
	for _, a := range d.approvals() {
		out = append(out, strconv.Quote(a.Who))
	}
	return out
}

var escaper = strings.NewReplacer(`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "[", `\[`, "]", `\]`, "<", "&lt;", ">", "&gt;", "&", "&amp;", "|", `\|`, "#", `\#`)

// plain is somebody's text on one line, of which nothing is markup.
func plain(text string) string { return escaper.Replace(strings.Join(strings.Fields(text), " ")) }
