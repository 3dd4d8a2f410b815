// Package rollout decides how far a migration has moved, for each key of its
// data: a pure core without clock, chance or I/O.
//
// It promises that the answer for a key depends on nothing but the rollout and
// the key (Evaluate), so a server, a process of an application and a preview
// give the same; that a larger ramp moves keys to the target and none back; and
// that the keys of two rollouts with different salts are spread independently.
//
// It assumes that a rollout was read by schemas, which refuses what makes no
// sense, and that all who ask about a key name it by its canonical texts.
//
// The order of its steps: a stage is a point on four axes (Axes); from a stage a
// rollout goes to the next or back along a graph (Next); a key falls into a
// bucket by its hash (schemas.BucketOf), and on the ramp the bucket says which side has
// authority for it (Evaluate). Before it goes forward a gate judges what was
// measured (Judge): what is missing, late or of too few samples never passes.
//
//	off ─► shadow ─► dual_write ─► shadow_read ─► ramp ─► target_primary ─► complete
//	 ◄──────── from each of these to any earlier one ─────────────┘   (from here none)
package rollout
