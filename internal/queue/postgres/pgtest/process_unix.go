//go:build unix

package pgtest

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

const possible = true

// unprivileged says how the programs of a server are started, and gives them their
// directory: they refuse to run as root. In a group of their own they do not get the
// signals that end a test; the keeper ends them.
func unprivileged(directory string) (*syscall.SysProcAttr, error) {
	process := &syscall.SysProcAttr{Setpgid: true}
	if os.Getuid() != 0 {
		return process, nil
	}
	account, err := user.Lookup(superuser)
	if err != nil {
		return nil, fmt.Errorf("running PostgreSQL as another user than root: %w", err)
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		return nil, fmt.Errorf("reading the user id of %s: %w", superuser, err)
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		return nil, fmt.Errorf("reading the group id of %s: %w", superuser, err)
	}
	process.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return process, os.Chown(directory, uid, gid)
}

// own writes a file that only the programs of a server can read.
func own(name string, text []byte, process *syscall.SysProcAttr) error {
	if err := os.WriteFile(name, text, 0o600); err != nil || process.Credential == nil {
		return err
	}
	return os.Chown(name, int(process.Credential.Uid), int(process.Credential.Gid))
}
