package postgres

import (
	"maps"
	"slices"
	"strings"
)

// part is a table that a partitioned table is made of.
type part struct {
	OID  uint32 `json:"oid"`
	Name string `json:"name"` // quoted
	// Link is the transaction that made it a partition, as the catalog shows it.
	Link uint32 `json:"link"`
	// Attached says that it was a table of its own before: it may have brought rows along.
	Attached bool `json:"attached"`
}

// partIdentity tells a partition from one that was detached and attached
// again.
type partIdentity struct {
	Name     string `json:"name"` // quoted
	Link     uint32 `json:"link"`
	attached bool   // it was a table of its own before; not known of what was read from a file
}

// parts are the table's partitions by oid, nil where it is not partitioned.
func (t *table) parts() map[uint32]partIdentity {
	if t.Kind != "p" {
		return nil
	}
	parts := make(map[uint32]partIdentity, len(t.Parts))
	for _, p := range t.Parts {
		parts[p.OID] = partIdentity{Name: p.Name, Link: p.Link, attached: p.Attached}
	}
	return parts
}

// attached lists the partitions that came since, and can have brought rows
// along. One that was created as a partition was empty.
func (was tableIdentity) attached(now tableIdentity) (names []string) {
	if was.Parts == nil {
		return nil
	}
	for _, oid := range slices.Sorted(maps.Keys(now.Parts)) {
		before, known := was.Parts[oid]
		if p := now.Parts[oid]; known && before.Link != p.Link || !known && p.attached {
			names = append(names, p.Name)
		}
	}
	return names
}

// left lists the partitions that are none any more, or are gone.
func (was tableIdentity) left(now tableIdentity) (names []string) {
	for _, oid := range slices.Sorted(maps.Keys(was.Parts)) {
		if _, still := now.Parts[oid]; !still {
			names = append(names, was.Parts[oid].Name)
		}
	}
	return names
}

// sayLeft warns of partitions that took their rows away, which the stream does
// not say.
func (s *Source) sayLeft(was, now identity) {
	for _, name := range slices.Sorted(maps.Keys(was.Tables)) {
		if left := was.Tables[name].left(now.Tables[name]); len(left) > 0 {
			s.log.Warn("partitions were detached or dropped; their rows are not deleted in the stream, and stand as they were last seen until the next baseline",
				"table", name, "partitions", strings.Join(left, ", "))
		}
	}
}
