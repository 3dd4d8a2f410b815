package mysql

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/trueup-io/trueup/capture"
)

// needed are rights on the whole server that capture needs, or that say more
// and change nothing. The servers show some of them under other names.
var needed = []string{"USAGE", "REPLICATION SLAVE", "REPLICATION CLIENT", "BINLOG MONITOR", "SLAVE MONITOR", "REPLICA MONITOR", "XA_RECOVER_ADMIN"}

// repairing are rights on tables that whoever writes repairs needs beside SELECT.
var repairing = []string{"INSERT", "UPDATE", "DELETE"}

// grantLine is a line of SHOW GRANTS.
var grantLine = regexp.MustCompile("^GRANT (.+?) ON (.+?) TO (.+)$")

// checkRights says what the user may do that nobody needs. Somebody who gets
// hold of the DSN can do it too.
func (s *Source) checkRights(ctx context.Context) []capture.Finding {
	subject := "rights of " + s.dsn.User
	var user string
	err := s.db.QueryRowContext(ctx, "select current_user()").Scan(&user)
	var grants []string
	if err == nil {
		err = each(ctx, s.db, "show grants", nil, func(scan func(...any) error) error {
			var line string
			err := scan(&line)
			grants = append(grants, line)
			return err
		})
	}
	if err != nil {
		return []capture.Finding{{Severity: capture.Fail, Subject: subject, Detail: err.Error(), Remedy: "make sure that the server answers"}}
	}
	findings := excess(grants, account(user), s.cfg.Repairs)
	for i := range findings {
		findings[i].Subject = subject
	}
	if findings == nil {
		findings = []capture.Finding{{Severity: capture.OK, Subject: subject, Detail: "are those that are needed"}}
	}
	return findings
}

// account is user@host as statements have it.
func account(user string) string {
	at := strings.LastIndexByte(user, '@')
	if at < 0 {
		return "'" + user + "'"
	}
	return "'" + user[:at] + "'@'" + user[at+1:] + "'"
}

// excess lists what grants give beyond what is needed.
func excess(grants []string, account string, repairs bool) (findings []capture.Finding) {
	warn := func(detail, remedy string) {
		findings = append(findings, capture.Finding{Severity: capture.Warn, Detail: detail, Remedy: remedy})
	}
	for _, line := range grants {
		m := grantLine.FindStringSubmatch(line)
		if m == nil {
			if strings.HasPrefix(line, "GRANT ") { // a role: its rights are in lines of their own where it is active
				warn("it has a role ("+strings.TrimPrefix(line, "GRANT ")+"), whose rights are not looked at", "grant it what it needs, by deploy/grants/mariadb-capture.sql, and revoke the role")
			}
			continue
		}
		rights, scope := splitRights(m[1]), m[2]
		if strings.HasPrefix(scope, "PROCEDURE ") || strings.HasPrefix(scope, "FUNCTION ") {
			warn("it may execute routines ("+scope+")", fmt.Sprintf("REVOKE %s ON %s FROM %s", m[1], scope, account))
			continue
		}
		allowed := []string{"USAGE", "SELECT", "SHOW VIEW"}
		if scope == "*.*" {
			allowed = needed
		} else if repairs {
			allowed = append(allowed, repairing...)
		}
		var more []string
		for _, right := range rights {
			if !slices.Contains(allowed, right) {
				more = append(more, right)
			}
		}
		if strings.HasSuffix(m[3], "WITH GRANT OPTION") {
			more = append(more, "GRANT OPTION")
		}
		if len(more) == 0 {
			continue
		}
		what := "it may more than is needed on " + scope + ": " + strings.Join(more, ", ")
		if scope == "*.*" && slices.Contains(more, "ALL PRIVILEGES") || len(more) > 8 {
			warn(fmt.Sprintf("it may do nearly everything on %s: whoever has the DSN can, too", scope), "give Trueup a user of its own: deploy/grants/mariadb-capture.sql")
			continue
		}
		warn(what, fmt.Sprintf("REVOKE %s ON %s FROM %s", strings.Join(more, ", "), scope, account))
	}
	return findings
}

// splitRights splits a list of rights: those on columns have lists of their own.
func splitRights(list string) (rights []string) {
	depth, start := 0, 0
	add := func(end int) {
		right, _, _ := strings.Cut(strings.TrimSpace(list[start:end]), " (")
		rights = append(rights, right)
	}
	for i, c := range list {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			add(i)
			start = i + 1
		}
	}
	add(len(list))
	return rights
}
