package stream

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Every error at once, each with its remedy.
func TestConfig_Validate(t *testing.T) {
	cfg := Config{Migration: "a.b", Partitions: -1, Port: 70_000, MaxRecordBytes: 1 << 30, MinFree: -1, SASL: SASL{Mechanism: "DIGEST"}}
	err := cfg.Validate()
	if err == nil {
		t.Fatal("valid")
	}
	for _, want := range []string{`migration name "a.b"`, "neither brokers nor a data directory", "-1 partitions", "port 70000", "max record bytes", "free space", "TLS and SASL need brokers", `SASL mechanism "DIGEST"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not said in %q", want, err)
		}
	}
	if err := (&Config{Migration: "m", Brokers: []string{"b:1"}, SASL: SASL{Mechanism: "PLAIN", User: "u"}}).Validate(); err == nil || !strings.Contains(err.Error(), "a user and a password") {
		t.Errorf("got %v", err)
	}
	if s := (SASL{Mechanism: "PLAIN", User: "u", Password: "secret"}).String(); strings.Contains(s, "secret") {
		t.Errorf("a password is shown: %s", s)
	}
}

// An unreachable broker is one clear error, and soon.
func TestOpen_Unreachable(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0") // a port that nobody listens on afterwards
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	_, err = Open(soon(t), Config{Migration: "orders", Brokers: []string{addr}})
	if err == nil || !strings.Contains(err.Error(), "reach kafka "+addr) {
		t.Fatalf("got %v", err)
	}
}

// What Connect does not find it does not make.
func TestConnect_MakesNothing(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = Connect(soon(t), Config{Migration: "orders", Brokers: c.ListenAddrs()})
	if !errors.Is(err, ErrNoTopic) || !strings.Contains(err.Error(), `"trueup.orders.changes"`) || !strings.Contains(err.Error(), `"trueup.orders.outcomes"`) {
		t.Fatalf("got %v", err)
	}
}

// "explicit retention, cleanup policy, replication factor = min(3, brokers)", and what
// an acknowledgement means follows from it.
func TestOpen_TopicsAreExplicit(t *testing.T) {
	ctx := soon(t)
	_, l := openFake(t, 5)
	admin := kadm.NewClient(l.client)
	configs, err := admin.DescribeTopicConfigs(ctx, l.Topics().All()...)
	if err != nil {
		t.Fatal(err)
	}
	for _, rc := range configs {
		got := make(map[string]string)
		for _, kv := range rc.Configs {
			got[kv.Key] = kv.MaybeValue()
		}
		want := map[string]string{"cleanup.policy": "delete", "retention.bytes": "-1", "retention.ms": "-1", "min.insync.replicas": "2"}
		if rc.Name == l.Topics().Changes {
			want["retention.ms"] = "2592000000"
		}
		if rc.Name == l.Topics().Measured {
			want["retention.ms"] = "8640000000"
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %s is %q, want %q", rc.Name, k, got[k], v)
			}
		}
	}
	details, err := admin.ListTopics(ctx, l.Topics().All()...)
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range details {
		if len(d.Partitions) != 5 || d.Partitions.NumReplicas() != 3 {
			t.Errorf("%s has %d partitions and %d replicas", name, len(d.Partitions), d.Partitions.NumReplicas())
		}
	}
	if l.Describe() != "kafka "+strings.Join(l.Brokers(), ",") {
		t.Errorf("described as %q", l.Describe())
	}
}

// Two processes that open a migration at once make its topics once.
func TestOpen_Together(t *testing.T) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	errs := make(chan error)
	for range 4 {
		go func() {
			l, err := Open(context.WithoutCancel(t.Context()), Config{Migration: "orders", Brokers: c.ListenAddrs()})
			if err == nil {
				err = l.Close()
			}
			errs <- err
		}()
	}
	for range 4 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(mechanism, "capture", "right"))
		if err != nil {
			t.Fatal(err)
		}
		cfg := Config{Migration: "orders", Brokers: c.ListenAddrs(), SASL: SASL{Mechanism: mechanism, User: "capture", Password: "right"}}
		l, err := Open(soon(t), cfg)
		if err != nil {
			t.Fatalf("%s: %v", mechanism, err)
		}
		write(t, l, Record{Value: []byte("x")})
		l.Close()
		cfg.SASL.Password = "wrong"
		// Kafka says why; this broker hangs up.
		if _, err := Open(soon(t), cfg); err == nil || !strings.Contains(err.Error(), "SASL") {
			t.Errorf("%s: a wrong password gives %v", mechanism, err)
		} else if strings.Contains(err.Error(), "wrong") {
			t.Errorf("%s: the password is shown: %v", mechanism, err)
		}
		c.Close()
	}
}

// certificate makes a self-signed certificate for the loopback interface.
func certificate(t *testing.T) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func TestTLS(t *testing.T) {
	cert, ca := certificate(t)
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(&tls.Config{Certificates: []tls.Certificate{cert}}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cfg := Config{Migration: "orders", Brokers: c.ListenAddrs(), TLS: TLS{Enabled: true, CAFile: ca}}
	l, err := Open(soon(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	write(t, l, Record{Value: []byte("x")})
	l.Close()
	for name, bad := range map[string]TLS{
		"no certificate in": {Enabled: true, CAFile: "open_test.go"},
		"no such file":      {Enabled: true, CAFile: "nowhere.pem"},
		"half a pair":       {Enabled: true, CertFile: ca},
		"unknown authority": {Enabled: true},
		"plain text":        {},
	} {
		cfg.TLS = bad
		if _, err := Open(soon(t), cfg); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// A topic that an administrator made by hand counts as it is.
func TestOpen_TopicsThatExist(t *testing.T) {
	ctx := soon(t)
	c, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopics(ctx, 2, 1, map[string]*string{"max.message.bytes": kadm.StringPtr("2000")}, TopicsOf("orders").All()...); err != nil {
		t.Fatal(err)
	}
	l, err := Connect(ctx, Config{Migration: "orders", Brokers: c.ListenAddrs()})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := newProducer(t, l, ProducerConfig{})
	if err := p.Append(ctx, Record{Value: make([]byte, 1990)}); err == nil {
		t.Fatal("a record larger than the topic's limit is taken")
	}
	if err := p.Append(ctx, Record{Value: make([]byte, 1800)}); err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// "Kafka down: capture pauses, bounded buffer; must never drop or ack." The brokers go
// away for a while, and everything is there afterwards, in order.
func TestI1_BrokersAwayForAWhile(t *testing.T) {
	ctx, dir := soon(t), t.TempDir()
	start := func(ports ...int) *kfake.Cluster {
		opts := []kfake.Opt{kfake.NumBrokers(1), kfake.DataDir(dir), kfake.SyncWrites()}
		if len(ports) > 0 {
			opts = append(opts, kfake.Ports(ports...))
		}
		c, err := kfake.NewCluster(opts...)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := start()
	l, err := Open(ctx, Config{Migration: "orders", Brokers: c.ListenAddrs(), Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	addr, err := net.ResolveTCPAddr("tcp", c.ListenAddrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	p := newProducer(t, l, ProducerConfig{MaxBufferedRecords: 100})
	const records = 1000
	appended := make(chan error, 1)
	go func() {
		for n := range records {
			if err := p.Append(ctx, Record{Partition: int32(n % 2), Value: []byte{byte(n / 256), byte(n)}}); err != nil {
				appended <- err
				return
			}
			if n%10 == 9 {
				if err := p.Barrier(Mark{Pos: "x", Token: n + 1}); err != nil {
					appended <- err
					return
				}
			}
		}
		appended <- nil
	}()
	produced := c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1})
	for round := range 3 {
		if err := produced.Wait(ctx, 2); err != nil {
			t.Fatal(round, err)
		}
		c.Close()
		c = start(addr.Port)
		produced = c.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Observe: true, Count: -1})
	}
	defer func() { c.Close() }()
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	if err := p.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if m, _ := p.Acked(); m.Token != records {
		t.Fatalf("acknowledged up to %v", m)
	}
	for part := range int32(2) {
		n := int(part)
		for _, v := range values(t, l, l.Topics().Changes, part) {
			if got := int(v[0])*256 + int(v[1]); got > n {
				t.Fatalf("partition %d: record %d, and %d was not there", part, got, n)
			} else if got == n { // a smaller one was sent again
				n += 2
			}
		}
		if n != records+int(part) {
			t.Fatalf("partition %d ends before record %d", part, n)
		}
	}
}
