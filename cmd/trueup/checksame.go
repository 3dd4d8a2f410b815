package main

import (
	"fmt"
	"net"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/mydsn"
	"github.com/trueup-io/trueup/internal/pgdsn"
	"github.com/trueup-io/trueup/schemas"
)

// checkSame says of which entities both sides are the same columns of one table,
// as a DSN that was copied makes them: whatever is written there, they are equal.
// Servers are told apart by their addresses alone.
func checkSame(m *schemas.Migration, rules *schemas.Rules) (found []capture.Finding) {
	server := serverOf(m.Store(schemas.Legacy))
	if server == "" || server != serverOf(m.Store(schemas.Target)) {
		return nil
	}
	for _, e := range rules.Entities() {
		if e.Table(schemas.Legacy) != e.Table(schemas.Target) || !sameColumns(e) {
			continue
		}
		found = append(found, capture.Finding{Severity: capture.Warn, Subject: "table " + e.Table(schemas.Target).String(),
			Detail: fmt.Sprintf("both sides of %s are this table of one database: they are equal whatever is written", e.Name),
			Remedy: "give stores.target a DSN of its own, or the entity another table"})
	}
	return found
}

// serverOf is what a store's DSN leads to: a database of PostgreSQL, or a server of the
// others, whose tables are named with their database; "" where that cannot be read, which
// others say.
func serverOf(store *schemas.Store) string {
	dsn, err := store.ResolveDSN()
	if err != nil {
		return ""
	}
	if store.Driver == schemas.Postgres {
		config, err := pgdsn.Parse(dsn)
		if err != nil {
			return ""
		}
		return fmt.Sprintf("postgres %s %d %q", localName(config.Host, pgdsn.Local(config.Host)), config.Port, config.Database)
	}
	config, err := mydsn.Parse(dsn)
	if err != nil {
		return ""
	}
	host, port, err := net.SplitHostPort(config.Addr)
	if err != nil { // a socket
		host, port = config.Addr, ""
	}
	return fmt.Sprintf("mysql %s %s", localName(host, port != "" && mydsn.Local(config)), port)
}

// localName gives all names of this machine one.
func localName(host string, local bool) string {
	if local {
		return "localhost"
	}
	return host
}

func sameColumns(e *schemas.Entity) bool {
	for i := range e.Fields {
		f := &e.Fields[i]
		legacy, ok := f.Column(schemas.Legacy)
		target, also := f.Column(schemas.Target)
		if !ok || !also || legacy != target {
			return false
		}
	}
	return true
}
