package schemas

import (
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Bounds of what the file may ask for.
const (
	maxPartitions   = 1024
	maxSettleWindow = 24 * time.Hour
	maxRetention    = 3650 * 24 * time.Hour
	maxOwner        = 256

	maxRowsPerSecond = 100_000_000
	maxParallel      = 16
	maxChunkRows     = 100_000
	apiVersion       = "trueup/v1"
	migrationKind    = "Migration"
)

var (
	migrationName = regexp.MustCompile(`^[a-z0-9-]{1,63}$`)
	entityName    = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,62}$`)
)

// migration reads the document.
func (r *configReader) migration(root *configNode) *Migration {
	m := &Migration{Path: r.file, DataDir: DefaultDataDir, Log: LogConfig{Partitions: DefaultPartitions}}
	if !r.mapping(root, "", "apiVersion", "kind", "metadata", "stores", "stage", "log", "baseline", "subscribe", "rollout", "deprecation", "dataDir", "entities") {
		return m
	}
	r.oneOf(r.required(root, "", "apiVersion", apiVersion), "apiVersion", apiVersion)
	r.oneOf(r.required(root, "", "kind", migrationKind), "kind", migrationKind)
	r.metadata(m, r.required(root, "", "metadata", "a mapping with a name"))
	r.stores(m, root)
	r.log(m, root.get("log"))
	r.baseline(m, root.get("baseline"))
	r.subscribe(m, root.get("subscribe"))
	r.rolloutOf(m, root.get("rollout"))
	m.Deprecation = r.deprecation(root.get("deprecation"))
	if n := root.get("stage"); n != nil {
		m.Stage, _ = r.text(n, "stage", "the name of the stage that the migration is at")
	}
	if n := root.get("dataDir"); n != nil {
		m.DataDir, _ = r.text(n, "dataDir", "a directory")
	}
	m.DataDir = m.resolve(m.DataDir)
	r.entityList(m, r.required(root, "", "entities", "a list of entities"))
	for _, check := range r.later {
		check()
	}
	return m
}

func (r *configReader) metadata(m *Migration, n *configNode) {
	if n == nil || !r.mapping(n, "metadata", "name", "owner") {
		return
	}
	const want = "1 to 63 of the characters a-z, 0-9 and -"
	name := r.required(n, "metadata", "name", want)
	var ok bool
	if m.Name, ok = r.text(name, "metadata.name", want); ok && !migrationName.MatchString(m.Name) {
		r.fail(name, "metadata.name", "want %s, have %s", want, shown(m.Name))
	}
	if owner := n.get("owner"); owner != nil {
		if m.Owner, ok = r.text(owner, "metadata.owner", "the name of who reconciles"); ok && len(m.Owner) > maxOwner {
			r.fail(owner, "metadata.owner", "want at most %d bytes, have %d", maxOwner, len(m.Owner))
		}
	}
}

func (r *configReader) stores(m *Migration, root *configNode) {
	n := root.get("stores")
	if n == nil {
		m.lack(r, root, "stores", "a run needs both stores")
		return
	}
	if !r.mapping(n, "stores", "legacy", "target") {
		return
	}
	for _, side := range Sides {
		path := "stores." + side.String()
		s := n.get(side.String())
		if s == nil {
			m.lack(r, n, path, "a run needs both stores")
			continue
		}
		if r.mapping(s, path, "driver", "dsn", "applyDsn", "streaming") {
			m.stores[side] = r.store(m, side, s, path)
		}
	}
}

func (r *configReader) store(m *Migration, side Side, n *configNode, path string) *Store {
	s := &Store{Side: side, migration: m, Streaming: DefaultStreaming}
	driver := r.required(n, path, "driver", "postgres, mysql or mariadb")
	if name, ok := r.oneOf(driver, path+".driver", string(Postgres), string(MySQL), string(MariaDB)); ok {
		s.Driver = Driver(name)
	}
	if n := n.get("streaming"); n != nil {
		if word, ok := r.oneOf(n, path+".streaming", "auto", "on", "off"); ok {
			s.Streaming = word
		}
		if s.Driver != "" && s.Driver != Postgres {
			r.fail(n, path+".streaming", "is for postgres: %s has a transaction in its log only when it has ended", s.Driver)
		}
	}
	s.Apply = r.secret(m, n.get("applyDsn"), path+".applyDsn", "connection string")
	dsn := r.required(n, path, "dsn", "env:NAME or file:PATH")
	if dsn == nil {
		return s
	}
	s.line, s.column = dsn.line, dsn.column
	if err := checkSecretReference(dsn.text); dsn.kind != kindText || err != nil {
		if err == nil {
			err = errSecretReference
		}
		r.fail(dsn, path+".dsn", "%v", err) // never what stands there
		return s
	}
	s.DSN = dsn.text
	return s
}

// lack notes what a run needs and the file leaves out.
func (m *Migration) lack(r *configReader, n *configNode, path, why string) {
	m.missing = append(m.missing, &ConfigError{File: r.file, Line: n.line, Column: n.column, Path: path, Problem: "missing: " + why})
}

func (r *configReader) log(m *Migration, n *configNode) {
	if n == nil || !r.mapping(n, "log", "brokers", "port", "partitions", "retention", "changelog") {
		return
	}
	m.Log.Port = r.whole(n.get("port"), "log.port", 1, 65535, 0)
	m.Log.Partitions = r.whole(n.get("partitions"), "log.partitions", 1, maxPartitions, DefaultPartitions)
	m.Log.Retention = r.duration(n.get("retention"), "log.retention", maxRetention, 0)
	m.Log.Changelog = r.boolean(n.get("changelog"), "log.changelog")
	brokers := n.get("brokers")
	if port := n.get("port"); port != nil && brokers != nil && len(brokers.items) > 0 {
		r.fail(port, "log.port", "it is the embedded broker's, and brokers are named: leave one of them out")
	}
	m.Log.Brokers = r.brokers(brokers, "log.brokers")
}

// rolloutOf reads which rollout the migration moves by. Its registry is on the brokers of
// the log, unless others are named.
func (r *configReader) rolloutOf(m *Migration, n *configNode) {
	if n == nil || !r.mapping(n, "rollout", "name", "registry", "brokers", "dataDir") {
		return
	}
	at := &m.Rollout
	at.Registry, at.Brokers, at.DataDir = DefaultRegistry, m.Log.Brokers, DefaultRolloutDir
	if name := r.required(n, "rollout", "name", "the name of a rollout"); name != nil {
		at.Name = r.plainName(name, "rollout.name")
	}
	if name := n.get("registry"); name != nil {
		at.Registry = r.plainName(name, "rollout.registry")
	}
	if brokers := n.get("brokers"); brokers != nil {
		at.Brokers = r.brokers(brokers, "rollout.brokers")
	}
	if dir := n.get("dataDir"); dir != nil {
		at.DataDir, _ = r.text(dir, "rollout.dataDir", "a directory")
	}
	at.DataDir = m.resolve(at.DataDir)
}

func (r *configReader) brokers(n *configNode, path string) (brokers []string) {
	if n == nil {
		return nil
	}
	if n.kind != kindList {
		r.fail(n, path, "want a list of host:port, have %s", n.describe())
		return nil
	}
	for i, b := range n.items {
		path := path + "[" + strconv.Itoa(i) + "]"
		address, ok := r.text(b, path, "host:port")
		switch {
		case !ok:
		case !isAddress(address):
			r.fail(b, path, "want host:port, have %s", shown(address))
		case slices.Contains(brokers, address):
			r.fail(b, path, "stands twice")
		default:
			brokers = append(brokers, address)
		}
	}
	return brokers
}

func (r *configReader) baseline(m *Migration, n *configNode) {
	if n == nil || !r.mapping(n, "baseline", "rowsPerSecond", "parallel", "chunkRows") {
		return
	}
	m.Baseline.RowsPerSecond = r.whole(n.get("rowsPerSecond"), "baseline.rowsPerSecond", 1, maxRowsPerSecond, 0)
	m.Baseline.Parallel = r.whole(n.get("parallel"), "baseline.parallel", 1, maxParallel, 0)
	m.Baseline.ChunkRows = r.whole(n.get("chunkRows"), "baseline.chunkRows", 1, maxChunkRows, 0)
}

func isAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || strings.ContainsAny(host, " /@\\") {
		return false
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

func (r *configReader) entityList(m *Migration, n *configNode) {
	if n == nil {
		return
	}
	if n.kind != kindList || len(n.items) == 0 {
		r.fail(n, "entities", "want a list with at least one entity, have %s", n.describe())
		return
	}
	first := map[string]string{} // where a name stands, by name
	places := map[tablePlace]string{}
	for i, item := range n.items {
		e := &entityReader{configReader: r, m: m, path: fmt.Sprintf("entities[%d]", i), Entity: &Entity{drivers: m.drivers()}}
		if !e.read(item) {
			continue
		}
		if path, twice := first[e.Name]; twice {
			r.fail(item.get("name"), e.path+".name", "the name stands twice: %s has it", path)
		} else if e.Name != "" {
			first[e.Name] = e.path
		}
		for _, side := range Sides {
			e.tableOnce(side, places)
		}
		e.place = len(m.entities)
		m.entities = append(m.entities, e.Entity)
	}
}
