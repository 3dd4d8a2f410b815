package postgres

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/trueup-io/trueup/capture"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/internal/servers/servertest"
)

// authority signs a certificate for a name. It returns its own, the
// certificate and its key, as PEM.
func authority(t *testing.T, name string) (root, cert, key []byte) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	must(err)
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	certDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, own.Public(), caKey)
	must(err)
	keyDER, err := x509.MarshalECPrivateKey(own)
	must(err)
	block := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return block("CERTIFICATE", rootDER), block("CERTIFICATE", certDER), block("EC PRIVATE KEY", keyDER)
}

// "TLS verify-full by default beyond loopback": names that are resolved to this
// machine stand for other ones.
func TestTLS(t *testing.T) {
	t.Parallel()
	root, cert, key := authority(t, "db.example")
	dir := t.TempDir()
	trusted := filepath.Join(dir, "root.crt")
	if err := os.WriteFile(trusted, root, 0o600); err != nil {
		t.Fatal(err)
	}
	stranger, _, _ := authority(t, "db.example")
	other := filepath.Join(dir, "other.crt")
	if err := os.WriteFile(other, stranger, 0o600); err != nil {
		t.Fatal(err)
	}
	server, err := servers.StartPostgres(t.Context(), servers.PostgresOptions{Files: map[string][]byte{"server.crt": cert, "server.key": key},
		Settings: map[string]string{"ssl": "on", "ssl_cert_file": "server.crt", "ssl_key_file": "server.key"}})
	servertest.Check(t, err)
	stopLater(t, server)
	d := openDB(t, server.DSN, createOrders)
	plainPort := servertest.Postgres(t).Port // of a server without TLS

	config := func(host string, port int, more string) Config {
		cfg := d.config(orderEntity)
		cfg.Slot = "tls"
		cfg.DSN = fmt.Sprintf("host=%s port=%d user=postgres dbname=postgres sslrootcert=%s %s", host, port, trusted, more)
		cfg.lookup = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
		return cfg
	}
	for name, c := range map[string]struct {
		cfg            Config
		severity, says string
	}{
		"the server that is named":      {config("db.example", server.Port, ""), capture.OK, "sslmode=verify-full"},
		"another name":                  {config("other.example", server.Port, ""), "", "not other.example"},
		"another authority":             {config("db.example", server.Port, "sslrootcert="+other), "", "unknown authority"},
		"without TLS":                   {config("db.example", plainPort, ""), "", "sslmode=verify-full holds"},
		"weaker, as is said":            {config("other.example", server.Port, "sslmode=verify-ca"), capture.Warn, "sslmode=verify-ca"},
		"not checked, as is said":       {config("other.example", server.Port, "sslmode=require sslrootcert=''"), capture.Warn, "sslmode=require"},
		"without TLS, as is said":       {config("db.example", plainPort, "sslmode=disable"), capture.Warn, "not encrypted: with sslmode=disable"},
		"perhaps TLS, as is said":       {config("db.example", plainPort, "sslmode=prefer"), capture.Warn, "not encrypted: with sslmode=prefer"},
		"on this machine":               {config("127.0.0.1", plainPort, ""), capture.OK, "not encrypted, on this machine"},
		"on this machine, with TLS":     {config("localhost", server.Port, "sslmode=require sslrootcert=''"), capture.OK, "TLSv1.3, on this machine"},
		"on this machine, wrong name":   {config("localhost", server.Port, "sslmode=verify-full"), "", "not localhost"},
		"among several, all have to be": {config("db.example,127.0.0.1", server.Port, ""), capture.OK, "sslmode=verify-full"},
	} {
		t.Run(name, func(t *testing.T) {
			by := findings(t, c.cfg)
			if c.severity != "" {
				expect(t, by, c.severity, "tls", c.says)
				return
			}
			expect(t, by, capture.Fail, "connection", c.says)
			if _, err := New(c.cfg).Open(t.Context(), "", ""); err == nil || !strings.Contains(err.Error(), "sslrootcert") {
				t.Errorf("%v; want what to do in it", err)
			}
		})
	}
	// The stream too.
	cfg := config("db.example", server.Port, "")
	r := first(t, cfg)
	d.exec("insert into orders values (1)")
	want(t, r.caughtUp(d), "0 insert [1]: - -> id=1 status=NULL amount=NULL note=NULL")
	if n := get[int](d, "select count(*) from pg_stat_ssl s join pg_stat_activity a using (pid) where a.application_name like 'trueup%' and not s.ssl"); n != 0 {
		t.Errorf("%d connections without TLS", n)
	}
}
