package sqlite

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKeyIsTheSameHoweverTheDirectoryIsWritten(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "real"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(root, "real"), filepath.Join(root, "link")); err != nil {
		t.Skipf("making a link: %v", err)
	}
	want := "sqlite:" + filepath.Join(root, "real", "queue")
	for _, directory := range []string{filepath.Join(root, "real", "queue"), filepath.Join(root, "link", "queue")} {
		if got := (Store{directory}).Key(); got != want {
			t.Errorf("before it exists, %s has the key %s, want %s", directory, got, want)
		}
	}
	if err := os.Mkdir(filepath.Join(root, "real", "queue"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := (Store{filepath.Join(root, "link", "queue")}).Key(); got != want {
		t.Errorf("once it exists, it has the key %s, want %s", got, want)
	}
}
