package mysql

import (
	"fmt"
	"strconv"
	"strings"

	binlog "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/uuid"

	"github.com/trueup-io/trueup/capture"
)

// gtids is what has been read of a server's log: for MariaDB the last GTID of
// each domain, for MySQL the set of all GTIDs; and of a MySQL without GTIDs
// everything before a place in its log, which says nothing of another server's.
type gtids struct {
	set binlog.GTIDSet // nil: there are none
	at  position       // without GTIDs
}

// byPlace says that there are no GTIDs.
func (g gtids) byPlace() bool { return g.set == nil }

func parseGTIDs(driver, text string) (gtids, error) {
	parse := binlog.ParseMysqlGTIDSet
	if driver == MariaDB {
		parse = binlog.ParseMariadbGTIDSet
	}
	// The servers break long sets into lines.
	set, err := parse(strings.NewReplacer("\n", "", "\r", "", " ", "").Replace(text))
	if err != nil {
		return gtids{}, fmt.Errorf("GTIDs %q: %w", text, err)
	}
	return gtids{set: set}, nil
}

func (g gtids) String() string {
	if g.byPlace() {
		return "everything before " + g.at.String()
	}
	return g.set.String()
}

func (g gtids) clone() gtids {
	if g.byPlace() {
		return g
	}
	return gtids{set: g.set.Clone()}
}

// contains says whether everything in other has been read.
func (g gtids) contains(other gtids) bool {
	if g.byPlace() || other.byPlace() {
		return g.byPlace() && other.byPlace() && !g.at.before(other.at)
	}
	return g.set.Contain(other.set)
}

// gtid names one transaction: exactly one of the pointers is set, or none where
// there are no GTIDs. What they point to never changes.
type gtid struct {
	mariadb *binlog.MariadbGTID
	mysql   *replication.GTIDEvent
	at      position // where it begins, without GTIDs
}

// String is domain-server-number, or uuid:number, or uuid:tag:number, or
// file:offset.
func (g gtid) String() string {
	if g.mariadb == nil && g.mysql == nil {
		return g.at.String()
	}
	if g.mariadb != nil {
		var room [3*20 + 2]byte
		text := append(strconv.AppendUint(room[:0], uint64(g.mariadb.DomainID), 10), '-')
		text = append(strconv.AppendUint(text, uint64(g.mariadb.ServerID), 10), '-')
		return string(strconv.AppendUint(text, g.mariadb.SequenceNumber, 10))
	}
	server, err := uuid.FromBytes(g.mysql.SID)
	if err != nil {
		return ""
	}
	if tag := g.mysql.Tag.String(); tag != "" {
		return fmt.Sprintf("%s:%s:%d", server, tag, g.mysql.GNO)
	}
	return fmt.Sprintf("%s:%d", server, g.mysql.GNO)
}

// add counts one as read. Without GTIDs that is said by where it ends.
func (g gtids) add(one gtid) error {
	if g.byPlace() {
		return nil
	}
	switch set := g.set.(type) {
	case *binlog.MariadbGTIDSet:
		if one.mariadb == nil {
			break
		}
		set.Sets[one.mariadb.DomainID] = one.mariadb
		return nil
	case *binlog.MysqlGTIDSet:
		if one.mysql == nil {
			break
		}
		server, err := uuid.FromBytes(one.mysql.SID)
		if err != nil {
			return fmt.Errorf("GTID event: %w", err)
		}
		set.AddGTIDWithTag(server, one.mysql.Tag, one.mysql.GNO)
		return nil
	}
	return fmt.Errorf("GTID %s is not of the flavour of %s", one, g)
}

// has says whether one has been read.
func (g gtids) has(one gtid) bool {
	if set, ok := g.set.(*binlog.MariadbGTIDSet); ok && one.mariadb != nil {
		last, ok := set.Sets[one.mariadb.DomainID]
		return ok && last.SequenceNumber >= one.mariadb.SequenceNumber
	}
	if g.byPlace() {
		return one.at.before(g.at)
	}
	return false // asked of MariaDB only: MySQL's own commit times need no samples
}

// resumePoint is where capture goes on: after the transactions of set. Pos is
// exactly where they end in the binlog, or zero where that is not known.
type resumePoint struct {
	set gtids
	pos position
}

// text is set@file:offset:created, or the set alone; without GTIDs the set is
// left out.
func (r resumePoint) text() capture.Resume {
	if r.set.byPlace() {
		return capture.Resume("@" + r.pos.whole())
	}
	if r.pos == (position{}) {
		return capture.Resume(r.set.String())
	}
	return capture.Resume(r.set.String() + "@" + r.pos.whole())
}

func parseResume(driver string, resume capture.Resume) (r resumePoint, err error) {
	set, pos, found := strings.Cut(string(resume), "@")
	if r.set, err = parseGTIDs(driver, set); err != nil {
		return r, fmt.Errorf("resume %q: %w", resume, err)
	}
	if found {
		if r.pos, err = parsePosition(pos); err != nil {
			return r, fmt.Errorf("resume %q: %w", resume, err)
		}
		if set == "" && driver == MySQL {
			r.set = gtids{at: r.pos}
		}
	}
	return r, nil
}
