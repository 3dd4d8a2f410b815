// MySQL 8.0.15, which the suite has, is linked with an OpenSSL that shares no key exchange with Go by default but this one.
//
//go:debug tlsrsakex=1

package mysql

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"

	"github.com/trueup-io/trueup/capture"
)

// authority signs a certificate for 127.0.0.1, and writes its own, that one and
// its key to a directory that servers can read.
func authority(t *testing.T) (ca, cert, key string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, caKey.Public(), caKey)
	must(err)
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	must(err)
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "db"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: root.NotBefore, NotAfter: root.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	certDER, err := x509.CreateCertificate(rand.Reader, leaf, root, own.Public(), caKey)
	must(err)
	dir := t.TempDir()
	must(errors.Join(os.Chmod(dir, 0o755), os.Chmod(filepath.Dir(dir), 0o755)))
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		must(os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644))
		return path
	}
	return write("ca.pem", "CERTIFICATE", rootDER), write("cert.pem", "CERTIFICATE", certDER), write("key.pem", "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(own))
}

// TestTLS: a server that takes nothing but TLS is captured, on connections that
// ask and on the one that replicates; and only by who trusts its certificate.
func TestTLS(t *testing.T) {
	for _, version := range []string{MariaDB, "mariadb11", MySQL} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			testTLS(t, version)
		})
	}
}

func testTLS(t *testing.T, version string) {
	ca, cert, key := authority(t)
	stranger, _, _ := authority(t)
	_, dsn := startOwn(t, version, map[string]string{"ssl-cert": cert, "ssl-key": key})
	driver := MariaDB
	if version == MySQL {
		driver = MySQL
	}
	createDatabase(t, driver, dsn, "secured")
	l := newLab(t, driver, dsn+"secured", "secured")
	l.exec("alter user 'capture_secured'@'%' require ssl")
	with := func(more string) Config {
		parsed, err := mysql.ParseDSN(l.cfg.DSN)
		if err != nil {
			t.Fatal(err)
		}
		cfg := l.cfg
		cfg.DSN = parsed.FormatDSN() + "?" + more
		return cfg
	}
	for more, want := range map[string]string{
		"tls=true&ssl-ca=" + ca:       "",
		"tls=skip-verify":             "", // on this machine nothing more is asked for
		"tls=true&ssl-ca=" + stranger: "certificate signed by unknown authority",
		"tls=true":                    "certificate signed by unknown authority",
		"tls=false":                   "Access denied",
	} {
		got := ""
		for _, f := range Check(t.Context(), with(more)) {
			if f.Subject == "connection" && f.Severity != capture.OK || f.Subject == "tls" && f.Severity != capture.OK {
				got = f.Severity + " " + f.Subject + ": " + f.Detail
			}
			if f.Subject == "tls" && !strings.Contains(f.Detail, "TLSv1.") {
				t.Errorf("%s: %s", more, f.Detail)
			}
		}
		if (got == "") != (want == "") || want != "" && !(strings.HasPrefix(got, "fail connection: ") && strings.Contains(got, want)) {
			t.Errorf("%s: %q, want %q", more, got, want)
		}
	}
	l.cfg = with("tls=true&ssl-ca=" + ca)
	c := l.capture(capture.Start{})
	l.exec("insert into a values (1, 'x', 0)")
	if diff := cmp.Diff([]string{"insert a 1 v=x n=0"}, showAll(c.settled())); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}
