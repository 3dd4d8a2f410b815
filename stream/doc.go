// Package stream is where things are said: the topics of a migration, on Apache
// Kafka or on an embedded single-copy broker, by one code path.
//
// It carries opaque records: key, value, headers, and the partition that the
// caller chose. What they mean is the business of package schemas.
//
// What it promises
//
//   - A [Producer] knows the contiguous acknowledged prefix over all partitions.
//     Its mark never passes a record that is not durable, in whatever order the
//     partitions acknowledge (invariant I1: ack after durable).
//   - A [Group] puts outputs and input offsets into the log in one transaction,
//     then lets the caller commit its own state. The caller's stored position is
//     the authority: consumption starts there and nowhere else, and records whose
//     outputs are already in the log are delivered as a replay, of which outputs
//     are discarded (I15, crash equivalence).
//   - No position is ever reset. What retention has removed, or a broker has lost,
//     is an error that names topic, partition and offsets ([ErrRetention],
//     [ErrDataLoss]).
//   - Everything is bounded: records and bytes buffered for producing, records and
//     bytes of a poll, and what a batch may decompress to.
//
// What it assumes
//
//   - The partition of a key is the caller's choice and stays the same for the life
//     of a topic; [Partition] is the function to use (I5).
//   - Outputs carry deterministic ids. A kill in the middle of a broker's commit can
//     repeat an output, with the same id and content; readers drop repeats by id.
//   - One process at a time holds an instance name of a group. A second one takes
//     over from the first, which is fenced ([ErrFenced]).
//
// # Delivery
//
// Changes: at least once, in order per partition. Outputs of a group: exactly once
// as long as the broker keeps its promises, at least once with the same ids
// otherwise. Low-rate topics written by a [Writer]: at least once.
//
// # The embedded broker
//
// With no brokers configured, [Open] starts franz-go's kfake in this process, with a
// data directory and synchronous writes, behind a file lock ([Embedded]). It keeps a
// single copy on one disk, and says so wherever it says where it writes.
package stream
