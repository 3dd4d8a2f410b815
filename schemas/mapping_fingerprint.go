package schemas

import (
	"crypto/sha256"
	"encoding/hex"
)

// Fingerprint identifies what a row's canonical form depends on: the key, the
// partition it chooses, and the fields with their sources. Settle windows,
// authority and policies are not in it.
func (e *Entity) Fingerprint() string {
	b := appendNames([]byte(e.Name+" "), e.KeyFields)
	b = appendNames(b, e.PartitionBy)
	for i := range e.Fields {
		b = e.Fields[i].appendDefinition(b)
	}
	for _, side := range Sides {
		b = appendTable(b, e.tables[side])
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
