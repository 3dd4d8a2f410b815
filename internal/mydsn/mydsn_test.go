package mydsn

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// "TLS verify by default beyond loopback": what says nothing is verified, what
// says something is taken at its word.
func TestWhatAStringMeans(t *testing.T) {
	for _, c := range []struct {
		dsn           string
		tls, verified bool
		server        string
	}{
		{"u@tcp(127.0.0.1:3306)/", false, false, ""},
		{"u@tcp([::1]:3306)/", false, false, ""},
		{"u@tcp(localhost)/", false, false, ""},
		{"u@unix(/run/mysqld.sock)/", false, false, ""},
		{"u@tcp(db.example:3306)/", true, true, "db.example"},
		{"u@tcp(db.example)/shop", true, true, "db.example"},
		{"u@tcp(10.0.0.7:3306)/", true, true, "10.0.0.7"},
		{"u@tcp(db.example:3306)/?tls=true", true, true, "db.example"},
		{"u@tcp(db.example:3306)/?tls=false", false, false, ""},
		{"u@tcp(db.example:3306)/?tls=skip-verify", true, false, ""},
		{"u@tcp(db.example:3306)/?tls=preferred", true, false, ""},
		{"u@tcp(127.0.0.1:3306)/?tls=true", true, true, "127.0.0.1"},
	} {
		conf, err := Parse(c.dsn)
		if err != nil {
			t.Errorf("%s: %v", c.dsn, err)
			continue
		}
		if (conf.TLS != nil) != c.tls || Verified(conf) != c.verified || c.verified && conf.TLS.ServerName != c.server {
			t.Errorf("%s: TLS %+v, verified %v", c.dsn, conf.TLS, Verified(conf))
		}
	}
}

// Errors name the file and no password.
func TestFilesThatAreNoCertificates(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for dsn, want := range map[string]string{
		"u:secret@tcp(db:3306)/?ssl-ca=" + file:                       "holds no certificate",
		"u:secret@tcp(db:3306)/?ssl-ca=/nowhere/ca.pem":               "/nowhere/ca.pem",
		"u:secret@tcp(db:3306)/?ssl-cert=" + file:                     "one is nothing without the other",
		"u:secret@tcp(db:3306)/?ssl-cert=" + file + "&ssl-key=x":      "ssl-cert",
		"u:secret@tcp(db:3306)/?tls=skip-verify&ssl-ca=" + file:       "is verified",
		"u:secret@tcp(db:3306)/?tls=preferred&ssl-ca=/nowhere/ca.pem": "is verified",
	} {
		if _, err := Parse(dsn); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", dsn, err, want)
		}
	}
}

func TestWithDatabase(t *testing.T) {
	for dsn, want := range map[string]string{
		"u:p@tcp(db:3306)/?ssl-ca=/etc/ca.pem":               "shop",
		"u:p@tcp(db:3306)/own?ssl-ca=/etc/ca.pem&timeout=3s": "own",
	} {
		with, err := WithDatabase(dsn, "shop")
		if err != nil {
			t.Fatal(err)
		}
		c, err := parse(with)
		if err != nil || c.DBName != want || c.Params["ssl-ca"] != "/etc/ca.pem" {
			t.Errorf("%s: %s, %+v, %v", dsn, with, c, err)
		}
	}
}
