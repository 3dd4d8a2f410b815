package servers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// account is an operating system account that a server runs as. The nil account
// is our own.
type account struct {
	name     string
	uid, gid uint32
}

// unprivileged returns the account for a server that refuses to run as root: our
// own unless we are root, else the first of names that exists, else nobody.
func unprivileged(names ...string) (*account, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range append(names, "nobody") {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if err := errors.Join(errUID, errGID); err != nil {
			return nil, fmt.Errorf("account %s: %w", name, err)
		}
		if uid != 0 {
			return &account{name: name, uid: uint32(uid), gid: uint32(gid)}, nil
		}
	}
	return nil, fmt.Errorf("running as root, and none of the accounts %s, nobody exists to run the server as: add one, or run as another user",
		strings.Join(names, ", "))
}

func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: a.uid, Gid: a.gid}
}

// own gives path, and all below it, to the account.
func (a *account) own(path string) error {
	if a == nil {
		return nil
	}
	return filepath.WalkDir(path, func(p string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(p, int(a.uid), int(a.gid))
	})
}

// reach makes sure that the account can search every directory above path. A
// directory of ours below the system's temporary directory is opened for
// searching (os.MkdirTemp and testing's TempDir make them 0700); any other one
// is the caller's to decide about.
func (a *account) reach(path string) error {
	if a == nil {
		return nil
	}
	temp, err := filepath.EvalSymlinks(os.TempDir())
	if err != nil {
		return fmt.Errorf("temporary directory: %w", err)
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if !a.searches(info) {
			if !strings.HasPrefix(dir, temp+string(filepath.Separator)) {
				return fmt.Errorf("directory %s cannot be entered by account %s, which has to run the server because we are root: choose a directory below %s, or chmod o+x %s",
					dir, a.name, temp, dir)
			}
			if err := os.Chmod(dir, info.Mode().Perm()|0o011); err != nil {
				return fmt.Errorf("open %s to account %s: %w", dir, a.name, err)
			}
		}
		if dir == filepath.Dir(dir) {
			return nil
		}
	}
}

func (a *account) searches(info fs.FileInfo) bool {
	mode := info.Mode().Perm()
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		switch {
		case st.Uid == a.uid:
			return mode&0o100 != 0
		case st.Gid == a.gid:
			return mode&0o010 != 0
		}
	}
	return mode&0o001 != 0
}
