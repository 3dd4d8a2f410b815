package stream

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	identityFile = "identity.json"
	dirFormat    = 1 // of the data directory's log; rises when an older program must not open it
)

// identity says whose data directory it is.
type identity struct {
	Migration string `json:"migration"`
	Format    int    `json:"format"`
	Cluster   string `json:"cluster"` // the embedded broker's cluster id
}

// openIdentity reads the directory's identity, or gives it one if it has none.
func openIdentity(dir, migration string) (identity, error) {
	id, err := readIdentity(dir)
	if errors.Is(err, os.ErrNotExist) {
		id = identity{Migration: migration, Format: dirFormat, Cluster: "trueup-" + randomHex()}
		b, err := json.Marshal(id)
		if err != nil {
			return identity{}, err
		}
		if err := writeFileAtomically(filepath.Join(dir, identityFile), append(b, '\n')); err != nil {
			return identity{}, fmt.Errorf("data directory %s: %w", dir, err)
		}
		return id, nil
	}
	if err != nil {
		return identity{}, err
	}
	if id.Migration != migration {
		return identity{}, fmt.Errorf("data directory %s belongs to migration %q, not to %q: use another data directory, or correct metadata.name", dir, id.Migration, migration)
	}
	return id, nil
}

func readIdentity(dir string) (identity, error) {
	path := filepath.Join(dir, identityFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return identity{}, fmt.Errorf("data directory %s: %w", dir, err)
	}
	var id identity
	dec := json.NewDecoder(bytes.NewReader(b))
	if err := dec.Decode(&id); err != nil || id.Migration == "" || id.Cluster == "" || id.Format < 1 {
		return identity{}, fmt.Errorf("%s does not say whose directory it is (%q): restore it from a backup, or use another data directory", path, clip(b))
	}
	if id.Format > dirFormat {
		return identity{}, fmt.Errorf("data directory %s has format %d, and this program knows up to %d: use the newer version that wrote it", dir, id.Format, dirFormat)
	}
	return id, nil
}

// findEmbedded returns the address and cluster id of the embedded broker that another
// process runs in dir.
func findEmbedded(dir, migration string) (addr, cluster string, err error) {
	notRunning := func(why string) error {
		return fmt.Errorf("%s: %w: %s; start it with `trueup run`", dir, ErrNotRunning, why)
	}
	id, err := readIdentity(dir)
	if errors.Is(err, os.ErrNotExist) {
		return "", "", notRunning("the directory holds no log yet")
	}
	if err != nil {
		return "", "", err
	}
	if id.Migration != migration {
		return "", "", fmt.Errorf("data directory %s belongs to migration %q, not to %q: use another data directory, or correct metadata.name", dir, id.Migration, migration)
	}
	if !held(dir) {
		return "", "", notRunning("no process holds the directory")
	}
	b, err := os.ReadFile(filepath.Join(dir, addrFile))
	if err != nil {
		return "", "", notRunning("the process that holds the directory is starting or stopping")
	}
	addr = strings.TrimSpace(string(b))
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return "", "", notRunning(err.Error())
	}
	conn.Close()
	return addr, id.Cluster, nil
}

func randomHex() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func clip(b []byte) string {
	if len(b) > 60 {
		return string(b[:60]) + "…"
	}
	return string(b)
}

// writeFileAtomically leaves the old file or the new one, whatever happens.
func writeFileAtomically(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDirectory(filepath.Dir(path))
}

// syncDirectory makes the names in a directory durable.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Moved says that the embedded broker of another process, to which this log is connected, has stopped, or has started again at
// another address: the log is then to be opened anew. It is false for Kafka, and for a broker of this process.
func (l *Log) Moved() bool {
	if l.embedded != nil || len(l.cfg.Brokers) > 0 {
		return false
	}
	b, err := os.ReadFile(filepath.Join(l.cfg.DataDir, addrFile))
	return err != nil || strings.TrimSpace(string(b)) != l.brokers[0]
}
