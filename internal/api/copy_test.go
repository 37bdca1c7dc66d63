package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
)

// leftovers returns the copies beside a queue.
func (b *bench) leftovers() []string {
	b.t.Helper()
	left, err := filepath.Glob(filepath.Join(b.runtime.Store().Usage().Dir, copyPattern))
	if err != nil {
		b.t.Fatal(err)
	}
	return left
}

func TestBackup(t *testing.T) {
	b := newBench(t)
	id := b.post("", `{"event":"job_saved","id":1,"status":"Approved"}`)
	// What a crash in the middle of a backup leaves.
	if _, err := os.MkdirTemp(b.runtime.Store().Usage().Dir, copyPattern); err != nil {
		t.Fatal(err)
	}
	// What people may call a copy of their own.
	kept := filepath.Join(b.runtime.Store().Usage().Dir, "copy-2026-03-13")
	if err := os.Mkdir(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(b.api)
	defer server.Close()
	response, err := http.Get(server.URL + "/backup")
	if err != nil {
		t.Fatal(err)
	}
	copied, err := os.Create(filepath.Join(t.TempDir(), "backup"))
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	n, err := copied.ReadFrom(response.Body)
	response.Body.Close()
	if err != nil || response.StatusCode != http.StatusOK || n == 0 || n != response.ContentLength {
		t.Fatalf("the backup is answered with %d and %d of %d bytes (%v)", response.StatusCode, n, response.ContentLength, err)
	}
	if response.Header.Get("Content-Type") != "application/octet-stream" || !strings.HasPrefix(response.Header.Get("Content-Disposition"), "attachment; filename=") {
		t.Errorf("the backup comes with %v", response.Header)
	}
	waitFor(t, "the copies to be removed", func() bool { return len(b.leftovers()) == 0 })
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a directory that is not the relay's own: %v", err)
	}

	// Another relay, that knows nothing of the event.
	other := newBench(t)
	other.api.admin = true
	raw, err := os.ReadFile(copied.Name())
	if err != nil {
		t.Fatal(err)
	}
	answer := other.do(http.MethodPost, "merge", string(raw))
	if answer.Code != http.StatusOK || !strings.HasSuffix(answer.Body.String(), `{"result":{"events":1}}`+"\n") {
		t.Errorf("the merge is answered with %d %s", answer.Code, answer.Body)
	}
	if _, err := inspect.Show(t.Context(), other.runtime, id); err != nil {
		t.Errorf("the event is not there after the merge: %v", err)
	}
	if left := other.leftovers(); len(left) > 0 {
		t.Errorf("the merge leaves %v", left)
	}
}

func TestMergeRefusesWhatIsNoBackup(t *testing.T) {
	b := newBench(t)
	b.api.admin = true
	for body, status := range map[string]int{"": http.StatusBadRequest, "no backup": http.StatusBadRequest} {
		if answer := b.do(http.MethodPost, "merge", body); answer.Code != status {
			t.Errorf("merging %q is answered with %d %s, want %d", body, answer.Code, answer.Body, status)
		}
	}
	if left := b.leftovers(); len(left) > 0 {
		t.Errorf("the merges leave %v", left)
	}
}

func TestCopiesAreRemovedAndOneAtATime(t *testing.T) {
	b := newBench(t)
	c := &call{Running: &Running{Runtime: b.runtime}, r: httptest.NewRequest(http.MethodGet, "/", nil).WithContext(context.Background())}
	failed := errors.New("failed")
	err := c.withCopy(func(file string, most int64) error {
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil || most <= 0 {
			t.Errorf("writing a copy of at most %d bytes: %v", most, err)
		}
		second := c.withCopy(func(string, int64) error { t.Error("two copies at once"); return nil })
		if AsError(second).Status != http.StatusServiceUnavailable {
			t.Errorf("the second copy ends with %v", second)
		}
		if len(b.leftovers()) != 1 {
			t.Errorf("the second copy removed the first")
		}
		return failed
	})
	if !errors.Is(err, failed) || len(b.leftovers()) > 0 {
		t.Errorf("the copy ends with %v and leaves %v", err, b.leftovers())
	}
}

// bareStore opens a queue whose engine is nothing but an engine.
type bareStore struct{ queue.Store }

func (s bareStore) Open(must bool, logger *zap.Logger) (queue.Engine, error) {
	engine, err := s.Store.Open(must, logger)
	return bareEngine{engine}, err
}

// bareEngine has no files of its own: it can neither back up nor merge, and has no
// directory.
type bareEngine struct{ queue.Engine }

func (e bareEngine) Usage() queue.Usage {
	return queue.Usage{Server: &queue.Server{Backup: "dump --schema=s db", Restore: "undump"}, Bytes: 1 << 50, Free: -1}
}

// What an engine cannot do is answered as such, however large its queue is and
// whatever is uploaded, and nothing is read or made for it.
func TestEnginesWithoutCopies(t *testing.T) {
	// Where there is no directory, a copy would be made here, which cannot be.
	none := filepath.Join(t.TempDir(), "none")
	t.Setenv("TMPDIR", none)
	t.Setenv("TMP", none)
	b := newBenchOn(t, bareStore{sqlite.Store{Dir: t.TempDir()}})
	b.api.admin = true
	for _, test := range []struct{ method, resource, body string }{
		{http.MethodGet, "backup", ""},
		{http.MethodPost, "merge", "no backup"},
		{http.MethodPost, "merge", ""},
	} {
		answer := b.do(test.method, test.resource, test.body)
		checkFailure(t, test.resource, answer, http.StatusNotImplemented, "", "copy it with `dump --schema=s db`, and put the copy back with `undump`")
	}
	// Such an engine cannot check itself either: the configuration is checked.
	var checked inspect.Checked
	if b.read("check", &checked); checked.Database == nil || len(checked.Database) > 0 {
		t.Errorf("the check finds %q in the database", checked.Database)
	}
}
