// Package mydsn reads connection strings of MariaDB and MySQL as the
// go-sql-driver does, with two differences. Where one leads beyond this machine
// and says nothing of TLS, it means tls=true: the server has to show a
// certificate for the name in the string. And it may name files: ssl-ca, the
// authorities that sign the server's certificate, and ssl-cert and ssl-key, a
// certificate of the client.
package mydsn

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/trueup-io/trueup/internal/loopback"
)

// Parse reads a connection string. Errors show no password. Its TLS is what a
// connection has to use, nil for none.
func Parse(dsn string) (*mysql.Config, error) {
	c, err := parse(dsn)
	if err != nil {
		return nil, err
	}
	if c.TLSConfig == "" && c.TLS == nil && !Local(c) {
		c.TLSConfig = "true"
	}
	take := func(name string) string {
		value := c.Params[name]
		delete(c.Params, name) // else the driver makes a variable of the session of it
		return value
	}
	ca, cert, key := take("ssl-ca"), take("ssl-cert"), take("ssl-key")
	if ca == "" && cert == "" && key == "" && c.TLSConfig != "true" {
		return c, nil
	}
	switch c.TLSConfig {
	case "", "true", "TRUE", "True", "1":
	default:
		return nil, fmt.Errorf("tls=%s: with ssl-ca, ssl-cert or ssl-key the server's certificate is verified: leave tls out, or say tls=true", c.TLSConfig)
	}
	secure := &tls.Config{ServerName: host(c), MinVersion: tls.VersionTLS12}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("ssl-ca: %w", err)
		}
		secure.RootCAs = x509.NewCertPool()
		if !secure.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ssl-ca: %s holds no certificate in PEM", ca)
		}
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("ssl-cert and ssl-key: one is nothing without the other")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("ssl-cert, ssl-key: %w", err)
		}
		secure.Certificates = []tls.Certificate{pair}
	}
	c.TLSConfig, c.TLS = "", secure
	return c, nil
}

// files are the parameters that name files, whose slashes the driver would take
// for the one before the database.
var files = regexp.MustCompile(`[?&]ssl-(ca|cert|key)=[^&]*`)

func parse(dsn string) (*mysql.Config, error) {
	return mysql.ParseDSN(files.ReplaceAllStringFunc(dsn, func(param string) string { return strings.ReplaceAll(param, "/", "%2F") }))
}

// WithDatabase names a database in a connection string that names none.
func WithDatabase(dsn, database string) (string, error) {
	c, err := parse(dsn)
	if err != nil {
		return "", err
	}
	if c.DBName == "" {
		c.DBName = database
	}
	return c.FormatDSN(), nil
}

// Verified says whether connections are encrypted, to the server that is named.
func Verified(c *mysql.Config) bool {
	return c.TLS != nil && !c.TLS.InsecureSkipVerify && !c.AllowFallbackToPlaintext
}

// Local says whether the server is on this machine: a socket or the loopback
// interface.
func Local(c *mysql.Config) bool {
	if c.Net != "tcp" {
		return c.Net == "unix"
	}
	return loopback.Host(host(c))
}

func host(c *mysql.Config) string {
	name, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return c.Addr
	}
	return name
}
