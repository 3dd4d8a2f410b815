package pgdsn

import (
	"testing"
)

// "TLS verify-full by default beyond loopback"; what the string says itself
// holds.
func TestVerifyFullBeyondLoopback(t *testing.T) {
	t.Setenv("PGSSLMODE", "")
	for dsn, want := range map[string]string{
		"postgres://u@127.0.0.1:5432/d":                        "prefer",
		"postgres://u@127.8.7.6/d":                             "prefer",
		"postgres://u@localhost/d":                             "prefer",
		"postgres://u@[::1]:5432/d":                            "prefer",
		"host=/var/run/postgresql user=u dbname=d":             "disable", // libpq knows no TLS over a socket
		"postgres://u@db.example/d":                            "verify-full",
		"postgresql://u:p%3Fw@db.example:5433/d?user=u":        "verify-full",
		"postgres://u@10.0.0.1/d?application_name=x":           "verify-full",
		"postgres://u@db.example/d?sslmode=disable":            "disable",
		"postgres://u@db.example/d?sslmode=prefer":             "prefer",
		"postgres://u@db.example/d?sslmode=allow":              "allow",
		"postgres://u@db.example/d?sslmode=require":            "require",
		"postgres://u@db.example/d?ssl=true":                   "require",
		"host=db.example user=u dbname=d":                      "verify-full",
		"host = db.example user=u password='sslmode=disable'":  "verify-full",
		"host=db.example user=u sslmode=disable":               "disable",
		"user=u sslmode='require' host=db.example port=5433":   "require",
		"postgres://u@127.0.0.1:1,db.example:2/d":              "verify-full",
		"host=127.0.0.1,db.example port=1,2 sslmode=disable":   "disable",
		"postgres://u@127.0.0.1:1,[::1]:2/d?connect_timeout=1": "prefer",
	} {
		config, err := Parse(dsn)
		if err != nil {
			t.Errorf("%s: %v", dsn, err)
			continue
		}
		for _, h := range Hosts(config) {
			if got := Mode(h); got != want {
				t.Errorf("%s: %s at %s, want %s", dsn, got, Address(h), want)
			}
		}
	}
	t.Setenv("PGSSLMODE", "require")
	if config, err := Parse("host=db.example"); err != nil || Mode(config) != "require" {
		t.Errorf("the environment's mode does not hold: %s, %v", Mode(config), err)
	}
}

// Each server of a string stands alone, whatever else it may be tried with.
func TestHosts(t *testing.T) {
	config, err := Parse("postgres://u@127.0.0.1:1,127.0.0.1:2,127.0.0.1:3/d?sslmode=prefer")
	if err != nil {
		t.Fatal(err)
	}
	hosts := Hosts(config)
	if len(hosts) != 3 {
		t.Fatalf("%d hosts", len(hosts))
	}
	for i, want := range []string{"127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"} {
		if Address(hosts[i]) != want || len(hosts[i].Fallbacks) != 1 || hosts[i].Fallbacks[0].Port != hosts[i].Port || hosts[i].User != "u" {
			t.Errorf("%s with %d fallbacks, want %s and one", Address(hosts[i]), len(hosts[i].Fallbacks), want)
		}
	}
}

// A string that is none is refused, and its password not shown.
func TestBadStrings(t *testing.T) {
	for _, dsn := range []string{"postgres://u:secret@:bad/", "host=x port=y password=secret", "postgres://u:secret@h/d?sslmode=maybe"} {
		if _, err := Parse(dsn); err == nil {
			t.Errorf("%q was taken", dsn)
		}
	}
}
