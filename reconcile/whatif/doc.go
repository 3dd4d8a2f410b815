// Package whatif says what the verdicts over a log would have been under other
// rules, as a difference to those under the rules that it was written for.
//
// It promises to change nothing but what the two sets of rules disagree about:
// where they agree, what the log's control records say of authority and settle
// window stays in force, and where they disagree the other rules come before
// the log. Every divergence of both is accounted for once: same, gone, new or
// changed.
//
// It assumes that both listings come from the same records, in the order of
// listings (replay.Order), and that each can be read twice.
package whatif
