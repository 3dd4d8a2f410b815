package mysql

import (
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
)

// passwords are the ways in which each server of the suite can ask for one, with what makes a user who is asked
// so. The packages of MariaDB 11.4 that are fetched have no plugin beside the server itself.
var passwords = map[string]map[string]string{
	MariaDB: {
		"mysql_native_password": "identified via mysql_native_password using password('secret')",
		"ed25519":               "identified via ed25519 using password('secret')",
	},
	"mariadb11": {
		"mysql_native_password": "identified via mysql_native_password using password('secret')",
	},
	MySQL: {
		"caching_sha2_password": "identified with caching_sha2_password by 'secret'",
		"sha256_password":       "identified with sha256_password by 'secret'",
		"mysql_native_password": "identified with mysql_native_password by 'secret'",
	},
}

// "MySQL with its own authentication": a server is captured by whatever it asks for, on connections that ask
// and on the one that replicates; a wrong password is said as one.
func TestPasswords(t *testing.T) {
	versions(t, func(t *testing.T, l *lab) {
		if len(passwords[l.server]) == 0 {
			t.Fatalf("no way to ask for a password is known of %s", l.server)
		}
		for plugin, identified := range passwords[l.server] {
			t.Run(plugin, func(t *testing.T) {
				if plugin == "ed25519" {
					l.exec("install soname 'auth_ed25519'")
				}
				user := strings.ReplaceAll("pw_"+l.name+"_"+plugin[:4], "test_", "")
				l := *l
				l.t = t
				l.exec("create user '" + user + "'@'%' " + identified)
				t.Cleanup(func() { l.exec("drop user '" + user + "'@'%'") })
				l.exec("grant " + leastRights + " to '" + user + "'@'%'")
				l.exec("grant select on " + l.name + ".* to '" + user + "'@'%'")
				l.exec("delete from a")
				dsn, err := mysql.ParseDSN(l.cfg.DSN)
				if err != nil {
					t.Fatal(err)
				}
				dsn.User, dsn.Passwd = user, "wrong"
				l.cfg.DSN = dsn.FormatDSN()
				if f := Check(t.Context(), l.cfg); len(f) != 1 || f[0].Severity == capture.OK || !strings.Contains(f[0].Detail, "Access denied") {
					t.Errorf("with a wrong password: %+v", f)
				}
				dsn.Passwd = "secret"
				l.cfg.DSN = dsn.FormatDSN()
				c := l.capture(capture.Start{})
				l.exec("insert into a values (1, 'x', 0)")
				if diff := cmp.Diff([]string{"insert a 1 v=x n=0"}, showAll(c.settled())); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			})
		}
	})
}
