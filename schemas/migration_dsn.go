package schemas

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"regexp"
	"strings"
)

// Store is one of the two stores as the file names it.
type Store struct {
	Side   Side
	Driver Driver
	// DSN says where the connection string is: env:NAME or file:PATH. It is never the string itself.
	DSN string
	// Streaming says whether PostgreSQL may send a large transaction before it has ended: auto, on or off.
	Streaming string
	// Apply is the connection string of the login that repairs are written with; nil: DSN's.
	Apply *Secret

	migration    *Migration
	line, column int
}

var environmentName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

var errSecretReference = errors.New("want env:NAME or file:PATH: the connection string itself, which holds a secret, does not belong in this file")

// Secret is a secret as the file names it: where it is, never what it is.
type Secret struct {
	Reference string // env:NAME or file:PATH

	what, path   string // for errors: what it is, and its key in the file
	migration    *Migration
	line, column int
}

// Resolve returns the secret. Errors name where it was looked for, never what
// was found.
func (s *Secret) Resolve() (string, error) {
	text, err := s.migration.secret(s.Reference, s.what)
	if err != nil {
		return "", fmt.Errorf("%s:%d:%d: %s: %w", s.migration.Path, s.line, s.column, s.path, err)
	}
	return text, nil
}

// secret reads a reference to a secret of the file; nil where there is none.
func (r *configReader) secret(m *Migration, n *configNode, path, what string) *Secret {
	if n == nil {
		return nil
	}
	err := checkSecretReference(n.text)
	if n.kind != kindText || errors.Is(err, errSecretReference) {
		err = fmt.Errorf("want env:NAME or file:PATH: the %s itself does not belong in this file", what)
	}
	if err != nil {
		r.fail(n, path, "%v", err) // never what stands there
		return nil
	}
	return &Secret{Reference: n.text, what: what, path: path, migration: m, line: n.line, column: n.column}
}

// checkSecretReference says what is wrong with a reference to a secret. It
// quotes nothing of what is none.
func checkSecretReference(text string) error {
	if name, ok := strings.CutPrefix(text, "env:"); ok {
		if !environmentName.MatchString(name) {
			return errors.New("want env: and the name of an environment variable: letters, digits and _")
		}
		return nil
	}
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		if strings.TrimSpace(path) == "" || strings.IndexByte(path, 0) >= 0 {
			return errors.New("want file: and the path of a file")
		}
		return nil
	}
	return errSecretReference
}

// maxSecretBytes bounds a file with a connection string.
const maxSecretBytes = 64 << 10

// ResolveDSN returns the connection string. Errors name where it was looked
// for, never what was found.
func (s *Store) ResolveDSN() (string, error) {
	dsn, err := s.migration.secret(s.DSN, "connection string")
	if err != nil {
		return "", fmt.Errorf("%s:%d:%d: stores.%s.dsn: %w", s.migration.Path, s.line, s.column, s.Side, err)
	}
	return dsn, nil
}

// ResolveApplyDSN returns the connection string that repairs are written with.
func (s *Store) ResolveApplyDSN() (string, error) {
	if s.Apply == nil {
		return s.ResolveDSN()
	}
	return s.Apply.Resolve()
}

func (m *Migration) secret(reference, what string) (string, error) {
	if name, ok := strings.CutPrefix(reference, "env:"); ok {
		return secretFromEnvironment(name, what)
	}
	return secretFromFile(m.resolve(strings.TrimPrefix(reference, "file:")), what)
}

func secretFromEnvironment(name, what string) (string, error) {
	dsn, ok := os.LookupEnv(name)
	switch {
	case !ok:
		return "", fmt.Errorf("the environment variable %s is not set: set it to the %s", name, what)
	case strings.TrimSpace(dsn) == "":
		return "", fmt.Errorf("the environment variable %s is empty: set it to the %s", name, what)
	}
	return strings.TrimSpace(dsn), nil
}

func secretFromFile(path, what string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("the file %s does not exist: put the %s in it and run chmod 600 on it", path, what)
	}
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", fmt.Errorf("read the %s: %w", what, err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is no file", path)
	case info.Mode().Perm()&0o007 != 0:
		return "", fmt.Errorf("everyone on this machine can use the file %s, which holds a secret: run chmod 600 %s", path, path)
	case info.Size() > maxSecretBytes:
		return "", fmt.Errorf("the file %s is larger than %d bytes: want a %s alone", path, maxSecretBytes, what)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxSecretBytes))
	if err != nil {
		return "", fmt.Errorf("read the %s: %w", what, err)
	}
	dsn := strings.TrimSpace(string(b))
	switch {
	case dsn == "":
		return "", fmt.Errorf("the file %s is empty: put the %s in it", path, what)
	case strings.ContainsAny(dsn, "\n\r\x00"):
		return "", fmt.Errorf("the file %s has more than one line: want a %s alone", path, what)
	}
	return dsn, nil
}
