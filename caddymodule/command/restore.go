package command

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/caddymodule/environment"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
)

func restoreCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "restore <file>",
		Short: "Puts a backup back, or adds its history to a running relay",
		Long: `
Without --history, the backup becomes the queue of a relay that is not running:
unfinished deliveries are carried out when it is started. The directory is that
of --dir, or of the configuration given by --config, by default the Caddyfile in
the current directory. There must be no queue in it. Run it as the user that
Caddy runs as, so that Caddy can write there.

With --history, the events of the backup are added to the history of a running
relay, older than all that are there. Nothing is sent: deliveries that were
unfinished in the backup count as cancelled. What is there already is left out,
so that it can be repeated.

If the relay that the backup was made of is still at work, restore only with
--history: otherwise both would carry out the same deliveries.`,
		Example: `  sudo -H -u USER caddy event-relay restore event-relay.db --config Caddyfile
  caddy event-relay restore event-relay.db --dir /srv/event-relay
  caddy event-relay restore event-relay.db --history`,
		Args: cobra.ExactArgs(1),
		RunE: running(runRestore),
	}
	flags := command.Flags()
	flags.Bool("history", false, "Add the events to the history of a running relay")
	flags.String("dir", "", "Directory of the queue")
	flags.StringP("config", "c", "", "Configuration file that names the directory of the queue, or with --history the admin API's address")
	flags.StringP("adapter", "a", "", "Name of the adapter of --config")
	return command
}

func runRestore(i *invocation) (int, error) {
	err := restore(i)
	return exitStatus(err), err
}

func restore(i *invocation) error {
	directory := i.String("dir")
	if i.Bool("history") {
		if directory != "" {
			return errors.New("restoring: --dir names the queue of a relay that is not running; it does not go with --history")
		}
		client, err := newAdminClient(i.Flags)
		if err != nil {
			return err
		}
		return mergeHistory(i, client)
	}
	if directory == "" {
		var err error
		if directory, err = configuredQueue(i.Flags); err != nil {
			return err
		}
	}
	directory, err := filepath.Abs(directory)
	if err != nil {
		return fmt.Errorf("restoring to %s: %w", i.String("dir"), err)
	}
	if err := sqlite.Restore(i.Arg(0), directory); err != nil {
		return err
	}
	if i.Bool("json") {
		return writeJSON(i.out, struct {
			Directory string `json:"directory"`
		}{directory})
	}
	fmt.Fprintf(i.out, "Restored to %s. Start Caddy: unfinished deliveries are carried out then.\n", directory)
	if os.Geteuid() == 0 {
		fmt.Fprintf(i.report, "It belongs to root now. If Caddy runs as another user: chown -R caddy: %s\n", directory)
	}
	return nil
}

// configuredQueue returns the directory of the queue that a configuration names.
func configuredQueue(flags caddycmd.Flags) (string, error) {
	file, err := readConfiguration(flags)
	if err != nil {
		return "", fmt.Errorf("%w; or name the directory with --dir", err)
	}
	settings, err := file.settings()
	if err != nil {
		return "", fmt.Errorf("%w; or name the directory with --dir", err)
	}
	if settings.Queue != nil && settings.Queue.Engine == config.QueuePostgres {
		return "", fmt.Errorf("restoring: %s names a queue in PostgreSQL, of which pg_dump makes copies and pg_restore puts them back; "+
			"to put a backup of a queue in a directory back, name that with --dir", file.name)
	}
	return environment.QueueDirectory(settings)
}
