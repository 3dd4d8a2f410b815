package servers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// directory is the private directory of one server.
type directory struct {
	path  string
	temp  bool     // made here, and removed by Stop
	owner *os.File // of a temporary one: says that we live, see claim
}

// privateDirectory returns the directory of a server: one of its name below dir,
// made if need be, so that servers can share dir; or a temporary one if dir is
// empty. It belongs to a, and a can reach it.
func privateDirectory(dir, server string, a *account) (directory, error) {
	d := directory{path: filepath.Join(dir, server), temp: dir == ""}
	var err error
	if d.temp {
		sweep(server)
		if d.path, err = os.MkdirTemp("", "trueup-"+server+"-"); err == nil {
			d.owner, err = claim(d.path)
		}
	} else {
		err = os.MkdirAll(d.path, 0o755)
	}
	if err == nil {
		err = d.settle(a)
	}
	if err != nil {
		return directory{}, errors.Join(fmt.Errorf("directory of %s: %w", server, err), d.discard())
	}
	return d, nil
}

func (d *directory) settle(a *account) error {
	path, err := filepath.Abs(d.path)
	if err != nil {
		return err
	}
	// Servers report their directory with symbolic links resolved.
	if d.path, err = filepath.EvalSymlinks(path); err != nil {
		return err
	}
	if err := a.reach(d.path); err != nil {
		return err
	}
	if err := os.MkdirAll(d.scratch(), 0o700); err != nil {
		return err
	}
	if a == nil {
		return nil
	}
	// These alone: what a server left in them at an earlier start is its own.
	return errors.Join(os.Chown(d.path, int(a.uid), int(a.gid)), os.Chown(d.scratch(), int(a.uid), int(a.gid)))
}

// scratch is where the server puts its temporary files.
func (d directory) scratch() string { return d.join("tmp") }

func (d directory) join(name string) string { return filepath.Join(d.path, name) }

// discard removes the directory if it was made here.
func (d directory) discard() error {
	if !d.temp {
		return nil
	}
	err := os.RemoveAll(d.path)
	if d.owner != nil {
		err = errors.Join(err, d.owner.Close())
	}
	return err
}
