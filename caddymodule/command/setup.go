package command

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/caddymodule/sites"
	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/preset"
)

func setupCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "setup <source>",
		Short: "Writes what the other side needs to post the events of a source",
		Long: `
Writes what the other side needs to post the events of a source: for iCFM a text
for CETA Support; for the PBX a Postman collection, which its Event Manager
imports; for any other source a description with an example.

It reads the configuration file and needs no running server. The output holds a
secret of the source. The notes on standard error, which say what to do with it,
do not repeat that. Environment variables that the configuration names must be
set, as they are for the server: --envfile reads them from its file.`,
		Example: `  caddy event-relay setup icfm
  caddy event-relay setup pbx --envfile event-relay.env --output pbx.json
  caddy event-relay setup pbx --url https://events.studio.example`,
		Args: cobra.ExactArgs(1),
		RunE: caddycmd.WrapCommandFuncForCobra(runSetup),
	}
	flags := command.Flags()
	flags.StringP("config", "c", "", "Configuration file (default: the Caddyfile in the current directory)")
	flags.StringP("adapter", "a", "", "Name of the adapter of --config")
	flags.String("url", "", "Public URL, if it is not the one in the configuration; the handler's path is added if it has none")
	flags.StringP("output", "o", "", "File to write to, readable by you alone")
	return command
}

func runSetup(flags caddycmd.Flags) (int, error) {
	handover, err := setup(flags, flags.Arg(0), flags.String("url"))
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	output := flags.String("output")
	if output == "" {
		_, err = os.Stdout.Write(handover.Document)
	} else {
		err = writePrivately(output, handover.Document)
	}
	if err != nil {
		return caddy.ExitCodeFailedQuit, fmt.Errorf("writing what the other side needs: %w", err)
	}
	if output != "" {
		fmt.Fprintf(os.Stderr, "\nWrote %s.", output)
	}
	fmt.Fprintf(os.Stderr, "\n%s", handover.Notes)
	return caddy.ExitCodeSuccess, nil
}

// setup reads a configuration file and returns what to hand over for a source.
func setup(flags caddycmd.Flags, name, public string) (preset.Handover, error) {
	file, err := readConfiguration(flags)
	if err != nil {
		return preset.Handover{}, err
	}
	source, err := file.source(name)
	if err != nil {
		return preset.Handover{}, err
	}
	address, err := publicURL(public, file.sites().Addresses(name))
	if err != nil {
		return preset.Handover{}, fmt.Errorf("setting up source %s: %w", name, err)
	}
	return receive.Setup(source, address).Handover()
}

// publicURL returns where a source's requests go: what the administrator gave,
// else the best of the addresses in the configuration.
func publicURL(given string, found []sites.Address) (string, error) {
	if given != "" {
		u, err := url.Parse(given)
		if err == nil && strings.Trim(u.Path, "/") == "" && len(found) > 0 {
			u.Path = found[0].Path
			return u.String(), nil
		}
		return given, nil // the relay says what is wrong with it
	}
	for _, address := range found {
		if address.Origin != "" {
			return address.URL(), nil
		}
	}
	if len(found) == 0 {
		return "", errors.New("no site has an event_relay handler for it; add one, or give the URL with --url https://HOST/PATH")
	}
	return "", errors.New("its handler's site has no host name; give the URL with --url https://HOST")
}

// writePrivately writes a file that only its owner can read, also if it was
// there before.
func writePrivately(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil {
		return err
	} else if info.Mode().IsRegular() && info.Mode().Perm() != 0o600 {
		if err := file.Chmod(0o600); err != nil {
			return fmt.Errorf("making %s readable by you alone: %w", path, err)
		}
	}
	if _, err := file.Write(content); err != nil {
		return err
	}
	return file.Close()
}
