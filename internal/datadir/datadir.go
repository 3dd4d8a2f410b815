// Package datadir claims a migration's data directory: one process at a time,
// and only for the migration that made it.
//
// It promises that a directory that cannot be claimed is left as it was, and
// that a claim ends with the process, however it ends. It assumes a local file
// system with flock.
package datadir

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is a claimed data directory.
type Dir struct {
	path string
	lock *os.File
}

type identity struct {
	Migration string `json:"migration"`
	Format    int    `json:"format"`
}

const format = 1

// ErrInUse says that another process has claimed the directory.
var ErrInUse = errors.New("in use")

// Claim creates the directory if need be, and claims it for a migration.
func Claim(path, migration string) (*Dir, error) {
	if have, err := Owner(path); err != nil {
		return nil, err
	} else if have != "" && have != migration {
		return nil, fmt.Errorf("data directory %s belongs to migration %q, this is %q: point dataDir elsewhere", path, have, migration)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("create data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(path, "LOCK"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("claim data directory: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		b, _ := io.ReadAll(io.LimitReader(lock, 32)) // only for the message
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("data directory %s is %w by process %s: stop it, or point dataDir elsewhere", path, ErrInUse, holder(b))
		}
		return nil, fmt.Errorf("lock data directory %s: %w", path, err)
	}
	d := &Dir{path: path, lock: lock}
	if err := d.sign(migration); err != nil {
		return nil, errors.Join(err, d.Release())
	}
	return d, nil
}

// Instance names the directory among others of its migration, over restarts: in lower-case
// letters and digits, made when it is asked for first. A copy of the directory has the
// same, so that of two processes on copies one is fenced.
func (d *Dir) Instance() (string, error) {
	path := d.Path("instance")
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return d.nameInstance(path)
	}
	if err != nil {
		return "", fmt.Errorf("read the name of data directory %s: %w", d.path, err)
	}
	name := strings.TrimSuffix(string(b), "\n")
	if len(name) != instanceLetters || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789") != "" {
		return "", fmt.Errorf("%s holds no name of a data directory: remove the file, and the directory gets another", path)
	}
	return name, nil
}

// instanceLetters have 60 bits.
const instanceLetters = 12

func (d *Dir) nameInstance(path string) (string, error) {
	name := strings.ToLower(rand.Text()[:instanceLetters])
	err := os.WriteFile(path+".new", []byte(name+"\n"), 0o600)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		return "", fmt.Errorf("name data directory %s: %w", d.path, err)
	}
	return name, nil
}

func holder(b []byte) string {
	if s := strings.TrimSpace(string(b)); s != "" {
		return s
	}
	return "(unknown)"
}

func (d *Dir) sign(migration string) error {
	if err := d.lock.Truncate(0); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	if _, err := d.lock.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	path := filepath.Join(d.path, "identity.json")
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	b, err := json.Marshal(identity{migration, format})
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("write identity of data directory: %w", err)
	}
	return nil
}

// Owner returns the migration that a directory belongs to, "" for one that
// belongs to none.
func Owner(path string) (string, error) {
	file := filepath.Join(path, "identity.json")
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read identity of data directory: %w", err)
	}
	var have identity
	if err := json.Unmarshal(b, &have); err != nil || have.Migration == "" {
		return "", fmt.Errorf("%s is not readable as the identity of a data directory: move the directory away, or point dataDir elsewhere", file)
	}
	if have.Format != format {
		return "", fmt.Errorf("data directory %s has format %d, this program writes %d: use the program that made it, or point dataDir elsewhere", path, have.Format, format)
	}
	return have.Migration, nil
}

// Path returns the path of something in the directory.
func (d *Dir) Path(elem ...string) string {
	return filepath.Join(append([]string{d.path}, elem...)...)
}

// Release gives the directory up.
func (d *Dir) Release() error {
	if err := d.lock.Close(); err != nil {
		return fmt.Errorf("release data directory %s: %w", d.path, err)
	}
	return nil
}
