package mysql

import (
	"context"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/compensate"
)

// capturing are rights on everything that a login which captures as well needs.
var capturing = []string{"REPLICATION SLAVE", "REPLICATION CLIENT", "BINLOG MONITOR", "SLAVE MONITOR", "REPLICA MONITOR", "REPLICATION SLAVE ADMIN"}

// Excess is compensate.Applier's: whatever SHOW GRANTS says beside what the mapped
// tables and the ledger need.
func (a *Applier) Excess(ctx context.Context) (excess []compensate.Excess, err error) {
	l, err := a.login(ctx)
	if err != nil {
		return nil, err
	}
	err = each(ctx, a.db, "SHOW GRANTS", nil, func(r []string) error {
		g := readGrant(r[0])
		if g.object == "" {
			excess = append(excess, compensate.Excess{Right: "role " + g.rights[0], Remedy: "REVOKE " + g.rights[0] + " FROM " + l.user + ";"})
			return nil
		}
		allowed := a.allowed(g.object, l.database)
		rights := slices.DeleteFunc(g.rights, func(right string) bool {
			name, _, _ := strings.Cut(right, " (") // a right to some columns alone
			return slices.Contains(allowed, name)
		})
		if len(rights) > 0 {
			text := strings.Join(rights, ", ") + " ON " + g.object
			excess = append(excess, compensate.Excess{Right: text, Remedy: "REVOKE " + text + " FROM " + l.user + ";"})
		}
		return nil
	})
	return excess, err
}

// allowed are the rights that the login may have on an object as SHOW GRANTS
// writes it.
func (a *Applier) allowed(object, database string) []string {
	allowed := []string{"USAGE"}
	if a.captures {
		allowed = append(allowed, "SELECT") // what it reads is capture's to judge
		if object == "*.*" {
			return append(allowed, capturing...)
		}
	}
	if strings.EqualFold(object, quote(database)+"."+quote("trueup_ledger")) {
		return append(allowed, "SELECT", "INSERT", "CREATE") // which makes it where it is not there
	}
	for _, t := range a.tables {
		if strings.EqualFold(object, quote(t.Schema)+"."+quote(t.Name)) {
			return append(allowed, "SELECT", "INSERT", "UPDATE", "DELETE")
		}
	}
	return allowed
}

// grant is a line of SHOW GRANTS: rights on an object, or a role on none.
type grant struct {
	rights []string
	object string
}

// readGrant reads a line. What follows TO may hold a password's digest.
func readGrant(line string) grant {
	said, to, _ := strings.Cut(strings.TrimPrefix(line, "GRANT "), " TO ")
	rights, object, found := strings.Cut(said, " ON ")
	if !found {
		return grant{rights: []string{said}}
	}
	g := grant{object: object}
	depth, begin := 0, 0
	for i, c := range rights + "," {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			g.rights = append(g.rights, strings.TrimSpace(rights[begin:i]))
			begin = i + 1
		}
	}
	if strings.Contains(to, "WITH GRANT OPTION") {
		g.rights = append(g.rights, "GRANT OPTION")
	}
	return g
}
