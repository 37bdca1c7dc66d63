package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/caddymodule/environment"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/queue"
	"github.com/caddy-event-relay/event-relay/internal/queue/sqlite"
)

func importCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "import <dir>",
		Short: "Takes the queue of one machine over into the PostgreSQL that several share",
		Long: `
Takes over what a relay with 'queue sqlite' has stored into the PostgreSQL
that the configuration names: the events with what became of them, the
deliveries that are unfinished, with their attempts, times and order, what is
paused, dedupe keys, counts, uses and notes. The relay must be stopped; its
directory is only read. A file that 'backup' wrote will do as well.

What is unfinished comes first, and can be delivered as soon as it is in. If
the command is interrupted, repeat it: it goes on, and stores nothing twice.
Other machines may use the PostgreSQL meanwhile. Only where an action has
order_by, let them begin once the command has ended: what they receive before
that goes first.

When it is done, do not start the old relay again: both would carry out the
same deliveries.`,
		Example: `  caddy event-relay import ./event_relay --config Caddyfile --envfile event-relay.env
  caddy event-relay import /srv/event-relay --dry-run`,
		Args: cobra.ExactArgs(1),
		RunE: running(runImport),
	}
	flags := command.Flags()
	flags.StringP("config", "c", "", "Configuration file that names the PostgreSQL (default: the Caddyfile in the current directory)")
	flags.StringP("adapter", "a", "", "Name of the adapter of --config")
	flags.Bool("dry-run", false, "Say what would be imported, and change nothing")
	return command
}

func runImport(i *invocation) (int, error) {
	err := importQueue(i)
	if i.context.Err() != nil {
		err = errors.New("importing: interrupted; repeat the command: it goes on, and stores nothing twice")
	}
	return exitStatus(err), err
}

// importResult is what import prints as JSON.
type importResult struct {
	From     string         `json:"from"`
	Into     string         `json:"into"`
	Contents queue.Contents `json:"contents"`
	// Imported is missing with --dry-run.
	Imported *queue.Imported `json:"imported,omitempty"`
	// Begun and Complete say what earlier imports did.
	Begun    bool `json:"begun"`
	Complete bool `json:"complete"`
}

func importQueue(i *invocation) (err error) {
	settings, store, err := importTarget(i)
	if err != nil {
		return err
	}
	progress := i.progress()
	defer progress.end()
	fmt.Fprintf(i.report, "Checking %s.\n", i.Arg(0))
	archive, err := sqlite.OpenArchive(i.context, i.Arg(0))
	if err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	result := importResult{From: i.Arg(0), Into: store.String()}
	if result.Contents, err = archive.Contents(i.context); err != nil {
		return fmt.Errorf("importing %s: %w", i.Arg(0), err)
	}
	importer, err := store.OpenImporter(i.context)
	if err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	defer func() { err = errors.Join(err, importer.Close()) }()
	if err := result.before(i.context, archive, importer); err != nil {
		return err
	}
	began := time.Now()
	if !i.Bool("dry-run") {
		stored, err := queue.Import(i.context, archive, importer, func(read int64, stored queue.Imported) {
			if stored.Unfinished > 0 && read < result.Contents.Events {
				progress.show(fmt.Sprintf("Importing events: %d of %d (%d %%); %s can be carried out", read, result.Contents.Events,
					100*read/result.Contents.Events, counted(int(stored.Unfinished), "delivery", "deliveries")))
				return
			}
			progress.show(fmt.Sprintf("Importing events: %d of %d", read, result.Contents.Events))
		})
		progress.end()
		if err != nil {
			return fmt.Errorf("importing %s: %w; %s stored so far: repeat the command when that is mended, it goes on", i.Arg(0), err, wereCounted(stored.Events))
		}
		result.Imported = &stored
	}
	if i.Bool("json") {
		return writeJSON(i.out, result)
	}
	result.print(i.out, time.Since(began))
	if result.Complete {
		return nil
	}
	for _, action := range withoutAction(settings, result.Contents.Unfinished) {
		fmt.Fprintf(i.out, "\nThe configuration has no action %q: its deliveries wait until it has, or until you `move` or `cancel` them.\n", action)
	}
	return nil
}

// importTarget returns the configuration, and the storage that it names.
func importTarget(i *invocation) (*config.Relay, queue.ImportStore, error) {
	file, err := readConfiguration(i.Flags)
	if err != nil {
		return nil, nil, err
	}
	settings, err := file.settings()
	if err != nil {
		return nil, nil, err
	}
	store, err := environment.Queue(settings)
	if err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", file.name, err)
	}
	into, can := store.(queue.ImportStore)
	if !can {
		return nil, nil, fmt.Errorf("importing: the queue of %s is %s, and an import goes into the PostgreSQL that several machines share: write `queue postgres DSN` into the configuration, or name another with --config; "+
			"to put a backup back, use restore", file.name, store)
	}
	return settings, into, nil
}

// before finds what earlier imports did.
func (r *importResult) before(ctx context.Context, archive queue.Archive, importer queue.Importer) error {
	place, err := importer.Imported(ctx, archive.Origin())
	if errors.Is(err, queue.ErrUsedSince) {
		return fmt.Errorf("importing %s: %w: what is in %s of it is out of date, and both may have carried out the same deliveries; "+
			"import it into an empty schema (`schema NAME` in the block of `queue postgres`), or drop this one first", r.From, err, r.Into)
	} else if err != nil {
		return fmt.Errorf("importing: %w", err)
	}
	if r.Begun = place != ""; !r.Begun {
		return nil
	}
	next, err := archive.Part(ctx, place)
	r.Complete = err == nil && next.Reached == place
	return err
}

func (r *importResult) print(out io.Writer, took time.Duration) {
	c := &r.Contents
	switch {
	case r.Complete:
		fmt.Fprintf(out, "All of %s is in %s already.\n", r.From, r.Into)
		return
	case r.Imported == nil:
		fmt.Fprintf(out, "%s has %s", r.From, counted(int(c.Events), "event", "events"))
		if c.Events > 0 {
			fmt.Fprintf(out, ", received from %s to %s", clock(c.Oldest), clock(c.Newest))
		}
		fmt.Fprintf(out, ", with %s and %s.\n", counted(int(c.Attempts), "attempt", "attempts"), counted(int(c.Notes), "note", "notes"))
		fmt.Fprintf(out, "Counts of %s, uses of %s, and %s that are in force.\n", counted(int(c.Minutes), "minute", "minutes"),
			counted(int(c.Uses), "event, rule or action", "events, rules and actions"), counted(int(c.Marks), "dedupe key", "dedupe keys"))
	default:
		r.printImported(out, took)
	}
	for _, b := range c.Unfinished {
		fmt.Fprintf(out, "  %s: %s%s, the oldest since %s\n", b.Action, counted(b.Count, "unfinished delivery", "unfinished deliveries"), paused(b.Paused), clock(b.Oldest))
	}
	for _, s := range c.Switches {
		if s.Kind != queue.SwitchAction {
			fmt.Fprintf(out, "  off: %s\n", strings.TrimSpace(string(s.Kind)+" "+s.Name))
		}
	}
	switch {
	case r.Imported != nil:
		fmt.Fprintf(out, "\nStart Caddy with this configuration now, on each machine: what is unfinished is carried out. Never start a relay with %s again: "+
			"it would carry out the same deliveries. Keep it until you have looked at the history (activity), and then delete it.\n", r.From)
	case r.Begun:
		fmt.Fprintf(out, "\nA part of it is in %s already: an import goes on from there. Nothing was changed.\n", r.Into)
	default:
		fmt.Fprintf(out, "\nIt would be imported into %s. Nothing was changed.\n", r.Into)
	}
}

func (r *importResult) printImported(out io.Writer, took time.Duration) {
	stored := r.Imported
	speed := ""
	if seconds := took.Seconds(); seconds >= 1 {
		speed = fmt.Sprintf(", %d a second", int64(float64(stored.Events+stored.Known)/seconds))
	}
	fmt.Fprintf(out, "Imported %s from %s into %s, in %s%s.\n", counted(int(stored.Events), "event", "events"), r.From, r.Into, took.Round(time.Second/10), speed)
	if stored.Known > 0 {
		fmt.Fprintf(out, "%s stored there already and left out.\n", wereCounted(stored.Known))
	}
	if stored.Damaged > 0 {
		fmt.Fprintf(out, "%s damaged: what can be read of them is stored. Deliveries of them fail, and nothing is sent.\n", wereCounted(stored.Damaged))
	}
}

func wereCounted(n int64) string {
	if n == 1 {
		return "1 event was"
	}
	return fmt.Sprintf("%d events were", n)
}

func paused(is bool) string {
	if is {
		return ", paused"
	}
	return ""
}

// withoutAction returns the actions that have unfinished deliveries and are not in the
// configuration.
func withoutAction(settings *config.Relay, unfinished []queue.Backlog) (missing []string) {
	for _, b := range unfinished {
		if !slices.ContainsFunc(settings.Actions, func(a config.Action) bool { return a.Name == b.Action }) {
			missing = append(missing, b.Action)
		}
	}
	return missing
}
