package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/replay"
)

func backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup <file>",
		Short: "Writes a consistent copy of the queue and the history of a running relay",
		Long: `
Writes a copy of the queue and the history as they are at one moment, while the
relay goes on. The file must not exist; only you can read it, because it holds
what your senders sent. It is complete and on disk when the command ends with
status 0, and is removed if the command is interrupted. Put it back with
restore.`,
		Example: `  caddy event-relay backup /var/backups/event-relay-$(date +%F).db`,
		Args:    cobra.ExactArgs(1),
		RunE:    talking(runBackup),
	}
}

func runBackup(i *invocation, client *adminClient) (err error) {
	path := i.Arg(0)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("writing the backup: %s exists, and a backup never replaces a file; name another one", path)
	}
	if err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	defer func() {
		if closed := file.Close(); err == nil {
			err = closed
		}
		if err != nil {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	size, err := client.download(i, file)
	if err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	if err := syncDirectory(filepath.Dir(path)); err != nil {
		return fmt.Errorf("writing the backup: %w", err)
	}
	if i.Bool("json") {
		return writeJSON(i.out, struct {
			File  string `json:"file"`
			Bytes int64  `json:"bytes"`
		}{path, size})
	}
	_, err = fmt.Fprintf(i.out, "Wrote %s, %s.\n", path, sizeText(size))
	return err
}

func (c *adminClient) download(i *invocation, file io.Writer) (int64, error) {
	response, err := c.open(i.context, http.MethodGet, "backup", nil, nil)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	progress := i.progress()
	defer progress.end()
	counter := &countingReader{reader: response.Body, what: "Backup", total: response.ContentLength, progress: progress}
	size, err := io.Copy(file, counter)
	if err == nil && response.ContentLength >= 0 && size != response.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	switch {
	case errors.Is(i.context.Err(), context.Canceled):
		return 0, errors.New("writing the backup: interrupted, and the file is removed")
	case err != nil:
		return 0, fmt.Errorf("writing the backup: %w; the file is removed", err)
	}
	return size, nil
}

// countingReader shows how much of a stream was read.
type countingReader struct {
	reader      io.Reader
	what        string
	done, total int64
	progress    *progress
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.reader.Read(p)
	r.done += int64(n)
	if r.total > 0 {
		r.progress.show(fmt.Sprintf("%s: %s of %s (%d %%)", r.what, sizeText(r.done), sizeText(r.total), 100*r.done/r.total))
	} else {
		r.progress.show(fmt.Sprintf("%s: %s", r.what, sizeText(r.done)))
	}
	return n, err
}

// syncDirectory makes the new name of a file durable. Some systems cannot sync a
// directory, so an error of that is left out.
func syncDirectory(path string) error {
	directory, err := os.Open(path)
	if err != nil {
		return err
	}
	defer directory.Close()
	_ = directory.Sync()
	return nil
}

// mergeHistory sends a backup to a running relay, which adds its events.
func mergeHistory(i *invocation, client *adminClient) error {
	file, err := os.Open(i.Arg(0))
	if err != nil {
		return fmt.Errorf("reading the backup: %w", err)
	}
	defer file.Close()
	about, err := file.Stat()
	if err != nil {
		return fmt.Errorf("reading the backup: %w", err)
	}
	progress := i.progress()
	defer progress.end()
	upload := &countingReader{reader: file, what: "Sending the backup", total: about.Size(), progress: progress}
	var result api.Merged
	err = client.long(i.context, "merge", upload, func(far replay.Progress) {
		progress.show(progressText("Adding events", far))
	}, &result)
	progress.end()
	switch {
	case i.context.Err() != nil:
		return errors.New("adding the history: interrupted; repeat the command: events that were added already are left out")
	case err != nil:
		return fmt.Errorf("restoring %s: %w", i.Arg(0), err)
	case i.Bool("json"):
		return writeJSON(i.out, result)
	}
	_, err = fmt.Fprintf(i.out, "Added %s to the history. Deliveries that were unfinished in the backup count as cancelled here.\n", counted(result.Events, "event", "events"))
	return err
}
