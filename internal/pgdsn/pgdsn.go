// Package pgdsn reads connection strings of PostgreSQL as libpq does, with one
// difference: where one leads beyond this machine and says nothing of TLS, it
// means sslmode=verify-full, not sslmode=prefer, which takes any certificate
// and, if there is none, no encryption.
//
// What a connection service file says of TLS does not count beyond this
// machine: the string or PGSSLMODE has to.
package pgdsn

import (
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/trueup-io/trueup/internal/loopback"
)

// Parse reads a connection string. Errors show no password.
func Parse(dsn string) (*pgconn.Config, error) {
	config, err := pgconn.ParseConfig(dsn)
	if err != nil || !beyond(config) || saysTLS(dsn) {
		return config, err
	}
	return pgconn.ParseConfig(withTLS(dsn))
}

// beyond says whether a host of it is not this machine.
func beyond(config *pgconn.Config) bool {
	return slices.ContainsFunc(Hosts(config), func(c *pgconn.Config) bool { return !Local(c.Host) })
}

// Local says whether a host is this machine: a socket's directory or the
// loopback interface.
func Local(host string) bool {
	return host == "" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@") || loopback.Host(host)
}

// saysTLS says whether a URL, or the environment that it adds to, decides about
// TLS. In a keyword string withTLS decides nothing that it says itself.
func saysTLS(dsn string) bool {
	if os.Getenv("PGSSLMODE") != "" {
		return true
	}
	u, ok := asURL(dsn)
	return ok && (u.Query().Has("sslmode") || u.Query().Has("ssl"))
}

// withTLS adds the default. In a keyword string a later word wins over it.
func withTLS(dsn string) string {
	const full = "sslmode=verify-full"
	if _, ok := asURL(dsn); !ok {
		return full + " " + dsn
	}
	if strings.Contains(dsn, "?") {
		return dsn + "&" + full
	}
	return dsn + "?" + full
}

func asURL(dsn string) (*url.URL, bool) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return nil, false
	}
	u, err := url.Parse(dsn)
	return u, err == nil
}

// Hosts returns a configuration for each server of one, in their order.
func Hosts(config *pgconn.Config) []*pgconn.Config {
	type server struct {
		host string
		port uint16
	}
	fallbacks := append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}}, config.Fallbacks...)
	var order []server
	of := map[server][]*pgconn.FallbackConfig{}
	for _, f := range fallbacks {
		s := server{f.Host, f.Port}
		if of[s] == nil {
			order = append(order, s)
		}
		of[s] = append(of[s], f)
	}
	hosts := make([]*pgconn.Config, len(order))
	for i, s := range order {
		c := config.Copy()
		c.Host, c.Port, c.TLSConfig, c.Fallbacks = s.host, s.port, of[s][0].TLSConfig, of[s][1:]
		hosts[i] = c
	}
	return hosts
}

// Address names the server of a configuration for one.
func Address(config *pgconn.Config) string {
	if network, address := pgconn.NetworkAddress(config.Host, config.Port); network == "tcp" {
		return address
	}
	return config.Host
}

// Mode is the sslmode that a configuration for one server amounts to.
func Mode(config *pgconn.Config) string {
	first := config.TLSConfig
	plain := first == nil || slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.TLSConfig == nil })
	switch {
	case first == nil && len(config.Fallbacks) > 0:
		return "allow"
	case first == nil:
		return "disable"
	case plain:
		return "prefer"
	case !first.InsecureSkipVerify:
		return "verify-full"
	case first.VerifyPeerCertificate != nil:
		return "verify-ca"
	}
	return "require"
}
