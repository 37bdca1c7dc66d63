//go:build !unix

package pgtest

import "syscall"

const possible = false

func unprivileged(string) (*syscall.SysProcAttr, error) { return nil, nil }

func own(string, []byte, *syscall.SysProcAttr) error { return nil }
