// Package state keeps the reconcile core's state in Pebble.
//
// It promises that what one Commit writes (a partition's keys and the offset
// they have taken) is there after a crash either whole or not at all, in the
// order of commits; that a directory is opened by one process at a time and
// only for the migration and format that made it; and that damage is found and
// named, never read as data. A crash may lose the newest commits: the offset
// says which, and the log has them.
//
// It assumes that a partition has one user at a time.
package state
