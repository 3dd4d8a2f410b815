package postgres

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// identity is what a position belongs to. A server, slot, publication or table
// that is dropped and made again under its old name has another one.
type identity struct {
	SystemID    string `json:"system_id"`
	Timeline    int32  `json:"-"` // stands in the position
	Database    string `json:"database"`
	Slot        string `json:"slot"`
	Publication string `json:"publication"`
	// PublicationOID and Tables tell a publication or table from one made later under the same name.
	PublicationOID uint32                   `json:"publication_oid"`
	Tables         map[string]tableIdentity `json:"tables"` // by schema.name
	// History is where the timelines before ours ended: two standbys that are both promoted begin timelines of one
	// number. Empty: on timeline 1, and where it was written before there was a History.
	History string `json:"history,omitempty"`
}

type tableIdentity struct {
	OID        uint32 `json:"oid"`
	Membership uint32 `json:"membership,omitempty"` // of its entry in the publication
	// Parts are what a partitioned table is made of, by oid; nil where it is not partitioned, or was not looked at.
	Parts map[uint32]partIdentity `json:"parts,omitzero"`
}

func parseIdentity(text string) (identity, error) {
	var id identity
	if err := json.Unmarshal([]byte(text), &id); err != nil {
		return id, fmt.Errorf("read the identity of the log: %w", err)
	}
	return id, nil
}

func (id identity) String() string {
	text, err := json.Marshal(id)
	if err != nil {
		panic(err) // strings and numbers always encode
	}
	return string(text)
}

// breaks says why position at, which belongs to id, is not continued by the
// log that is now there; "" if it is. Forks are the ancestors of now's
// timeline.
func (id identity) breaks(now identity, forks []fork, at lsn) string {
	switch {
	case id.SystemID != now.SystemID:
		return fmt.Sprintf("the server is another cluster: system identifier %s, it was %s", now.SystemID, id.SystemID)
	case id.Database != now.Database:
		return fmt.Sprintf("the database is %s, it was %s", now.Database, id.Database)
	case id.Slot != now.Slot:
		return fmt.Sprintf("the slot is %s, it was %s", now.Slot, id.Slot)
	case id.Publication != now.Publication:
		return fmt.Sprintf("the publication is %s, it was %s", now.Publication, id.Publication)
	case now.PublicationOID == 0:
		return fmt.Sprintf("publication %s is gone: its tables' changes are no longer in the stream", id.Publication)
	case id.PublicationOID != now.PublicationOID:
		return fmt.Sprintf("publication %s was dropped and created again: changes in between are not in the stream", id.Publication)
	}
	if id.Timeline != now.Timeline {
		i := slices.IndexFunc(forks, func(f fork) bool { return f.timeline == id.Timeline })
		if i < 0 {
			return fmt.Sprintf("the server is on timeline %d, which does not descend from timeline %d", now.Timeline, id.Timeline)
		}
		if forks[i].end < at {
			return fmt.Sprintf("timeline %d ended at %s, before our position %s: what was captured after it never happened on timeline %d",
				id.Timeline, forks[i].end, at, now.Timeline)
		}
	}
	if id.History != "" && now.History != "" && !strings.HasPrefix(now.History+" ", id.History+" ") {
		return fmt.Sprintf("the server is on another timeline %d than ours: the timelines before it ended at %s, those before ours at %s",
			now.Timeline, now.History, id.History)
	}
	return ""
}
