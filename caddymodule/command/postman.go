package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/postman"
)

// exitLeftOut is the exit status of import-postman when something that was
// chosen could not be imported. All imported is status 0, an error 1.
const exitLeftOut = 2

func importPostmanCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "import-postman FILE",
		Short: "Writes the requests of a Postman collection as actions for the Caddyfile",
		Long: `
Reads a collection as Postman exports it (v2.0 or v2.1), and writes its requests
as actions, with the collection's variables as parameters. The text goes to
standard output or to the file given by --output, to be imported into the
event_relay block:

  import relay.d/*.caddy

A report of what was changed, is to be looked at or was left out, and why, goes
to standard error. Variables without a value stand on top of the text as
undefined: with what stands there the configuration loads, but nothing useful
can be sent before they are filled in. Tags of the PBX such as {{caller_id}}
have their values from each event. Scripts are never run.

With --list, the requests are shown and nothing is written. --select chooses
some by number, by name, or by the name or path of a folder.

The exit status:
  0  all that was chosen is imported, perhaps with remarks in the report
  1  error: the file cannot be read, or the text cannot be written
  2  the text is written, but something that was chosen is not in it`,
		Example: `  caddy event-relay import-postman crm.json --list
  caddy event-relay import-postman crm.json --environment lan.json --output relay.d/crm.caddy
  caddy event-relay import-postman crm.json --select Tickets --select 12 --prefix crm_`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			// The exit status says it; cobra would add a line that says that it does.
			command.SilenceErrors = true
			return caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
				return runImportPostman(flags, command.OutOrStdout(), command.ErrOrStderr())
			})(command, arguments)
		},
	}
	flags := command.Flags()
	flags.String("environment", "", "File with a Postman environment, whose values go before the collection's")
	flags.Bool("list", false, "Show the requests, and write nothing")
	flags.StringArray("select", nil, "A request's number or name, or a folder's name, to import; may be repeated")
	flags.StringP("output", "o", "", "File to write to, which must not exist")
	flags.String("prefix", "", "Text that begins the names of all actions and parameters")
	return command
}

func runImportPostman(flags caddycmd.Flags, out, report io.Writer) (int, error) {
	collection, err := readCollection(flags.Arg(0))
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if flags.Bool("list") {
		err := writeRequests(out, collection, flags.Bool("json"))
		return exitStatus(err), err
	}
	options := postman.Options{Prefix: flags.String("prefix")}
	if options.Select, err = flags.GetStringArray("select"); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	// --select A B reads like --select A --select B.
	if len(options.Select) > 0 {
		options.Select = append(options.Select, flags.Args()[1:]...)
	} else if flags.NArg() > 1 {
		return caddy.ExitCodeFailedStartup, fmt.Errorf("reading the arguments: %q follows the file; to choose requests write --select %q", flags.Arg(1), flags.Arg(1))
	}
	if file := flags.String("environment"); file != "" {
		if options.Environment, err = readEnvironment(file); err != nil {
			return caddy.ExitCodeFailedStartup, err
		}
	}
	imported, err := collection.Import(options)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	text, err := imported.Caddyfile()
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if err := writeImport(flags, out, imported, text); err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	writeReport(report, imported)
	if imported.LeftOut > 0 {
		return exitLeftOut, nil
	}
	return caddy.ExitCodeSuccess, nil
}

func readCollection(file string) (*postman.Collection, error) {
	if about, err := os.Stat(file); err == nil && about.IsDir() {
		return nil, fmt.Errorf("reading %s: it is a directory, as Postman 12 keeps collections (v3); export the collection from Postman as Collection v2.1", file)
	}
	data, err := readLimited(file)
	if err != nil {
		return nil, err
	}
	collection, err := postman.Read(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return collection, nil
}

func readEnvironment(file string) (*postman.Environment, error) {
	data, err := readLimited(file)
	if err != nil {
		return nil, err
	}
	environment, err := postman.ReadEnvironment(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return environment, nil
}

// readLimited reads a file, but not more of it than a collection may have.
func readLimited(file string) ([]byte, error) {
	opened, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	data, err := io.ReadAll(io.LimitReader(opened, postman.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	return data, nil
}

func writeRequests(w io.Writer, collection *postman.Collection, asJSON bool) error {
	requests := collection.Requests()
	if asJSON {
		return writeJSON(w, requests)
	}
	table := newTable("NUMBER", "FOLDER", "NAME", "METHOD", "URL").cutting("FOLDER", "NAME", "URL")
	for _, r := range requests {
		table.add(strconv.Itoa(r.Number), r.Folder, r.Name, r.Method, r.URL)
	}
	return table.write(w, terminalWidth(w))
}

func writeJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

// writeImport writes the text, to a file if one is named.
func writeImport(flags caddycmd.Flags, out io.Writer, imported *postman.Import, text string) error {
	file := flags.String("output")
	if file != "" {
		if err := writeNew(file, text); err != nil {
			return err
		}
	}
	if flags.Bool("json") {
		return writeJSON(out, struct {
			Collection string              `json:"collection"`
			Actions    []postman.Imported  `json:"actions"`
			Parameters []postman.Parameter `json:"parameters"`
			Findings   []postman.Finding   `json:"findings"`
			LeftOut    int                 `json:"left_out"`
			Caddyfile  string              `json:"caddyfile"`
		}{imported.Collection, imported.Imported, imported.Parameters, imported.Findings, imported.LeftOut, text})
	}
	if file != "" {
		return nil
	}
	_, err := io.WriteString(out, text)
	return err
}

// writeNew writes a file that does not exist yet: the administrator may have
// filled in what stands in one that does. It may hold credentials, so that only
// its owner and group may read it.
func writeNew(file, text string) error {
	created, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o640)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("writing %s: there is such a file already; remove it or name another one", file)
	}
	if err != nil {
		return err
	}
	_, err = io.WriteString(created, text)
	if closed := created.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", file, err)
	}
	return nil
}

// writeReport says what became of the collection.
func writeReport(w io.Writer, imported *postman.Import) {
	for _, line := range imported.Report() {
		fmt.Fprintln(w, printable(line))
	}
}
