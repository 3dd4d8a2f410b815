// Package changelog keeps a second copy of the comparator's state on a compacted
// topic, so that a partition goes on where no state of it is.
//
// It promises that what a read_committed reader finds in a partition of the
// changelog, from where its generation begins up to its last head, is the state
// as of one commit, or says of itself that it is not yet; and that nothing is
// restored that is another migration's, log's, partition's, rules' or format's, that
// was cut, or that cannot be read. State that is refused is made from the log, as
// without a changelog.
//
// It assumes that what a Writer returns is written in one transaction with the
// group's offsets, so that only the owner of a partition can commit to it, and that
// the log removes of the changelog only what a later record replaces, or what stands
// before the generation.
//
// # The form
//
// A record's key is a key of the state, its value what the state has there;
// without a value it is deleted. Beside these a partition has two records:
//
//	beginning   the first one of a generation, and never written again
//	head        the last one of every transaction: a Head, as JSON
//
// A generation is named by an offset: what stands before it does not belong to it.
// So a state that was made anew, dropped, or gone its own way for a while begins a
// generation, and what the one before held needs no deletions, key by key. A
// generation is whole once all of the state was written, some with each commit.
//
//	           Follow                        all keys were written
//	(none) ─────────────► being written ───────────────────────────► whole
//	   ▲                        │                                       │
//	   └────────────────────────┴─── Leave, a record that does not fit ─┘
package changelog
