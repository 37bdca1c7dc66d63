//go:build !unix

package database

// SyncDirectory does nothing where directories cannot be synced; NTFS keeps
// their entries in its own journal.
func SyncDirectory(string) error { return nil }
