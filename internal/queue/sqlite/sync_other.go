//go:build !unix

package sqlite

// syncDirectory does nothing where directories cannot be synced; NTFS keeps
// their entries in its own journal.
func syncDirectory(string) error { return nil }
