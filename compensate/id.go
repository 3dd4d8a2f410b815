package compensate

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/trueup-io/trueup/schemas"
)

// ID is the id that c has to have: the same divergence event with the same
// precondition and the same values to write, in the same mode, has the same id,
// wherever and how often it is planned, and nothing else has it.
func ID(c *schemas.Compensation) string {
	h := newIDHash("compensation", c.DivergenceID, c.Sequence)
	h.text(c.Mode)
	h.text(string(c.Statement))
	h.text(c.Schema)
	h.text(c.Table)
	h.row(c.KeyColumns)
	h.row(c.Expect)
	h.row(c.Set)
	if c.Rule != "" || c.Add != nil || c.Undoes != "" || c.ExpiresAt != 0 {
		h.text(c.Rule)
		h.row(c.Add)
		h.text(c.Undoes)
		h.number(uint64(c.ExpiresAt))
	}
	return h.sum()
}

// RefusalID stands where the compensation's id would, in the outcome of a
// divergence event that none could be planned for.
func RefusalID(d *schemas.Divergence) string {
	h := newIDHash("refusal", d.ID, d.Sequence)
	return h.sum()
}

// idHash frames what it hashes, so that no two inputs run into each other.
type idHash struct{ hash.Hash }

func newIDHash(kind, divergence string, sequence uint32) idHash {
	h := idHash{sha256.New()}
	h.text(kind)
	h.text(divergence)
	h.number(uint64(sequence))
	return h
}

func (h idHash) number(n uint64) { h.Write(binary.AppendUvarint(nil, n)) }

func (h idHash) text(text string) {
	h.number(uint64(len(text)))
	h.Write([]byte(text))
}

// row tells an absent row from one without columns.
func (h idHash) row(row schemas.Row) {
	if row == nil {
		h.number(0)
		return
	}
	h.number(uint64(len(row)) + 1)
	for _, col := range row {
		h.text(col.Name)
		h.number(uint64(col.Presence))
		h.text(col.Text)
	}
}

// sum is the first half of the digest.
func (h idHash) sum() string { return hex.EncodeToString(h.Sum(nil)[:16]) }
