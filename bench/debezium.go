package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/trueup-io/trueup/bench/peers"
	"github.com/trueup-io/trueup/internal/servers"
	"github.com/trueup-io/trueup/stream"
)

// What is measured of Debezium begins with its first rows: a JVM's start, its
// connections and what it asks a server for are left out, of the time and of the
// CPU seconds. Of Trueup they are in.

// debeziumTuning is what Debezium's documentation names for throughput: batches
// and the queue before them four times as large as it ships them, and no wait of
// half a second when the queue is empty.
var debeziumTuning = map[string]string{"max.batch.size": "8192", "max.queue.size": "32768", "poll.interval.ms": "10"}

// besideEngine measures the discarding of a backlog of PostgreSQL beside
// Debezium's engine.
func besideEngine(form peers.Form) func(context.Context, *session, string) ([]line, error) {
	return func(ctx context.Context, s *session, name string) ([]line, error) {
		d, w, err := s.peersOfPostgres(ctx)
		if err != nil {
			return nil, err
		}
		subject := func(round int) (sample, error) {
			return w.drained(ctx, &w.subjects, func(p place) (sample, error) {
				return runCapture(ctx, "capture postgres", postgresTask{Shape: w.shape.name, DSN: w.dsn, Place: p, Rows: w.shape.rows + 1, Profile: s.profilePath(name, round)})
			})
		}
		against := func(int) (sample, error) {
			return w.drained(ctx, &w.limits, func(p place) (sample, error) {
				connector, err := w.connector(p, name)
				if err != nil {
					return sample{}, err
				}
				connector["offset.storage"] = "org.apache.kafka.connect.storage.MemoryOffsetBackingStore"
				return s.engine(ctx, d, connector, form, name+".public.orders", w.shape.rows)
			})
		}
		l, err := comparison{unit: "rows/s", subject: subject, limit: "Debezium engine, " + string(form), against: against}.measure(name)
		return []line{l}, err
	}
}

// besideConnect measures a backlog of PostgreSQL into one node of Apache Kafka,
// beside Debezium in Kafka Connect into the same one.
func besideConnect(ctx context.Context, s *session, name string) ([]line, error) {
	d, w, err := s.peersOfPostgres(ctx)
	if err != nil {
		return nil, err
	}
	k, err := s.node(ctx)
	if err != nil {
		return nil, err
	}
	subject := func(round int) (sample, error) {
		return w.drained(ctx, &w.subjects, func(p place) (sample, error) {
			return k.counting(func() (sample, error) {
				return runCapture(ctx, "capture postgres", postgresTask{Shape: w.shape.name, DSN: w.dsn, Place: p, Rows: w.shape.rows + 1,
					Brokers: k.Brokers, Log: fmt.Sprintf("%s-%d", logName, round), Profile: s.profilePath(name, round)})
			})
		})
	}
	against := func(round int) (sample, error) {
		return w.drained(ctx, &w.limits, func(p place) (sample, error) {
			prefix := fmt.Sprintf("%s.%d", name, round)
			connector, err := w.connector(p, prefix)
			if err != nil {
				return sample{}, err
			}
			return s.connect(ctx, d, k, connector, prefix+".public.orders", w.shape.rows)
		})
	}
	l, err := comparison{unit: "rows/s", subject: subject, limit: "Debezium in Kafka Connect, JSON", against: against}.measure(name)
	return []line{l}, err
}

func (s *session) peersOfPostgres(ctx context.Context) (*peers.Debezium, *workload, error) {
	d, err := peers.Fetch(ctx)
	if err != nil {
		return nil, nil, err
	}
	w, err := s.backlog(ctx, peerRows)
	return d, w, err
}

// drained has a place drained, and frees it.
func (w *workload) drained(ctx context.Context, from *[]place, by func(place) (sample, error)) (sample, error) {
	p, err := w.take(from)
	if err != nil {
		return sample{}, err
	}
	result, err := by(p)
	return result, errors.Join(err, w.free(ctx, p))
}

// connector are the properties with which Debezium drains a place, into topics
// that begin with prefix.
func (w *workload) connector(p place, prefix string) (map[string]string, error) {
	at, err := url.Parse(w.dsn)
	if err != nil {
		return nil, err
	}
	return withTuning(map[string]string{
		"name":                        "peer",
		"connector.class":             "io.debezium.connector.postgresql.PostgresConnector",
		"tasks.max":                   "1",
		"topic.prefix":                prefix,
		"database.hostname":           at.Hostname(),
		"database.port":               at.Port(),
		"database.user":               at.User.Username(),
		"database.dbname":             at.Path[1:],
		"plugin.name":                 "pgoutput",
		"slot.name":                   p.Slot,
		"publication.name":            publication,
		"publication.autocreate.mode": "disabled",
		"snapshot.mode":               "no_data",
	}), nil
}

func withTuning(properties map[string]string) map[string]string {
	for name, value := range debeziumTuning {
		properties[name] = value
	}
	return properties
}

// engine has Debezium's engine drain so many rows, which it forgets.
func (s *session) engine(ctx context.Context, d *peers.Debezium, connector map[string]string, form peers.Form, topic string, rows int) (result sample, err error) {
	dir, err := s.directory("engine")
	if err != nil {
		return sample{}, err
	}
	p, err := d.Engine(ctx, dir, connector, form, topic, rows)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, p.Stop(), os.RemoveAll(dir)) }()
	return between(p, func(word string) (int, error) { return p.Await(word) })
}

// between measures a peer from its first rows to its last ones.
func between(p *peers.Process, await func(word string) (int, error)) (sample, error) {
	first, err := await("first")
	if err != nil {
		return sample{}, err
	}
	began, err := p.Usage()
	if err != nil {
		return sample{}, err
	}
	all, err := await("done")
	if err != nil {
		return sample{}, err
	}
	ended, err := p.Usage()
	return sample{Units: all - first, Elapsed: ended.At.Sub(began.At), CPU: ended.CPU - began.CPU, RSS: ended.RSS}, err
}

// node is a Kafka that captures write to, as its scripts would start it.
type node struct{ *servers.Kafka }

func (s *session) node(ctx context.Context) (node, error) {
	if s.kafka == nil {
		k, err := servers.StartKafka(ctx, servers.KafkaOptions{JVM: []string{"-Xms1G", "-Xmx1G", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"}})
		if err != nil {
			return node{}, fmt.Errorf("a Kafka to capture into: %w", err)
		}
		s.kafka = k
	}
	return node{s.kafka}, nil
}

// counting adds what the node's own process took.
func (k node) counting(run func() (sample, error)) (sample, error) {
	before, err := peers.UsageOf(k.PID())
	if err != nil {
		return sample{}, err
	}
	result, err := run()
	after, usageErr := peers.UsageOf(k.PID())
	result.Broker = after.CPU - before.CPU
	return result, errors.Join(err, usageErr)
}

// connectPoll is how often the topic is looked at while Connect fills it.
const connectPoll = 50 * time.Millisecond

// connect has Kafka Connect drain so many rows into a topic with as many
// partitions as ours, with acknowledged writes that are compressed as ours.
func (s *session) connect(ctx context.Context, d *peers.Debezium, k node, connector map[string]string, topic string, rows int) (result sample, err error) {
	dir, err := s.directory("connect")
	if err != nil {
		return sample{}, err
	}
	partitions := strconv.Itoa(stream.DefaultPartitions)
	connector["topic.creation.default.partitions"], connector["topic.creation.default.replication.factor"] = partitions, "1"
	p, err := d.Connect(ctx, dir, map[string]string{
		"bootstrap.servers":              k.Brokers[0],
		"listeners":                      "http://127.0.0.1:0",
		"key.converter":                  "org.apache.kafka.connect.json.JsonConverter",
		"value.converter":                "org.apache.kafka.connect.json.JsonConverter",
		"key.converter.schemas.enable":   "false",
		"value.converter.schemas.enable": "false",
		"offset.storage.file.filename":   dir + "/offsets",
		"producer.compression.type":      "snappy",
		"producer.linger.ms":             "5",
		"producer.batch.size":            "262144",
		"producer.buffer.memory":         "67108864",
	}, connector)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, p.Stop(), os.RemoveAll(dir)) }()
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers...))
	if err != nil {
		return sample{}, err
	}
	defer client.Close()
	admin := kadm.NewClient(client)
	return k.counting(func() (sample, error) {
		return between(p, func(word string) (int, error) {
			want := 1
			if word == "done" {
				want = rows
			}
			return filled(ctx, admin, p, topic, want)
		})
	})
}

// filled waits until a topic has that many records.
func filled(ctx context.Context, admin *kadm.Client, p *peers.Process, topic string, want int) (int, error) {
	for {
		ends, err := admin.ListEndOffsets(ctx, topic)
		if err != nil {
			return 0, err
		}
		has := 0
		ends.Each(func(o kadm.ListedOffset) { // of a topic that is not there yet: an error, and no offset
			if o.Err == nil {
				has += int(o.Offset)
			}
		})
		if has >= want {
			return has, nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-p.Ended():
			return 0, p.Because(fmt.Errorf("the worker of Kafka Connect ended with %d of %d rows in %s", has, want, topic))
		case <-time.After(connectPoll):
		}
	}
}
