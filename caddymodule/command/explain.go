package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// exitIgnored is the exit status of explain when nothing would be sent. An
// action is status 0, an error 1.
const exitIgnored = 2

func explainCommand(version string) *cobra.Command {
	command := &cobra.Command{
		Use:   "explain (--request FILE | --event ID)",
		Short: "Says what the rules do about an event and why, without storing or sending anything",
		Long: `
Shows the verdict, each rule that names the event with its conditions and the
values of their parts, and each request as it would be sent. It is a dry run:
nothing is stored or sent. Secrets are shown as ***.

With --request, no server is needed: the request in FILE ("-": standard input)
goes through the receiving part of the configuration given by --config, by
default the Caddyfile in the current directory. Its credential is checked; with
--source it counts as a request of that source, whatever its credential. The
sender's address is checked against "allow" only if --from gives one. Secrets
that the configuration takes from the environment must be set; any value will
do.

FILE holds a request as it is in HTTP/1.1: request line, header lines, a blank
line, and the body. It may be written by hand: lines may end in LF, and
HTTP/1.1, Host and Content-Length may be missing. Lines on top that begin with #
are comments, as in a case of 'test'. HTTP/2 in the first line and
UTF-16, as PowerShell writes it, are read too. The body is the rest of the file.
A line end at the very end belongs to it only if Content-Length counts it; a
Content-Length that is wrong otherwise is not looked at.

With --event, a stored event of a running Caddy is explained: by the
configuration that is running, with --then by the one that was when the event
came, or by the one given by --config. The parameters and fields of a stored
event are those that were read when it came.

With --at TIME, the event counts as received at that time, and now() is that
time. Its own date and time stay as they are. TIME is in the time zone of the
relay: 22:30 is today, "saturday 10:00" the last Saturday.

The exit status serves in tests:
  0  at least one action is carried out, and nothing is wrong
  1  error: the configuration or the request cannot be read, the request would
     be refused, a condition cannot be evaluated, or a request cannot be
     made
  2  nothing is sent: the event is ignored, the relay is off, or it is a ping
For a batch, an error of one event counts, then an action of one.`,
		Example: `  caddy event-relay explain --config Caddyfile --request project_created.http
  caddy event-relay explain --request call.http --source pbx --json
  caddy event-relay explain --request call.http --source pbx --at "saturday 10:00"
  caddy event-relay explain --event 0199f3c2-7d11-7cc3
  caddy event-relay explain --event 0199f3c2-7d11-7cc3 --then
  caddy event-relay explain --event 0199f3c2-7d11-7cc3 --config Caddyfile.new`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, arguments []string) error {
			// The exit status says it; cobra would add a line that says that it does.
			command.SilenceErrors = true
			return caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
				return runExplain(version, flags, command.InOrStdin(), command.OutOrStdout())
			})(command, arguments)
		},
	}
	flags := command.Flags()
	flags.StringP("config", "c", "", "Configuration file to decide by")
	flags.StringP("adapter", "a", "", "Name of the adapter of --config")
	flags.String("request", "", "File with a raw HTTP request, or - for standard input")
	flags.String("event", "", "Id of a stored event of a running Caddy")
	flags.Bool("then", false, "Explain the stored event by the configuration that was running when it came")
	flags.String("source", "", "Take the request as one of this source, without looking at credentials")
	flags.String("from", "", "IP address that the request comes from")
	flags.String("at", "", "Evaluate as if the event were received at this time: 22:30, \"saturday 10:00\", \"2026-12-25 10:00\"")
	return command
}

func runExplain(version string, flags caddycmd.Flags, in io.Reader, out io.Writer) (int, error) {
	explanation, err := explain(version, flags, in)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	if flags.Bool("json") {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(explanation)
	} else {
		_, err = io.WriteString(out, explanationText(explanation))
	}
	switch {
	case err != nil:
		return caddy.ExitCodeFailedStartup, fmt.Errorf("writing the explanation: %w", err)
	case explanation.Outcome == inspect.OutcomeAction:
		return caddy.ExitCodeSuccess, nil
	case explanation.Outcome == inspect.OutcomeIgnored:
		return exitIgnored, nil
	}
	return caddy.ExitCodeFailedStartup, errors.New("the outcome is an error: see the explanation")
}

func explain(version string, flags caddycmd.Flags, in io.Reader) (inspect.Explanation, error) {
	file, id := flags.String("request"), flags.String("event")
	if (file == "") == (id == "") {
		return inspect.Explanation{}, errors.New("explaining needs either --request FILE or --event ID")
	}
	if id != "" {
		if flags.String("source") != "" || flags.String("from") != "" {
			return inspect.Explanation{}, errors.New("--source and --from go with --request; a stored event has its source and address")
		}
		return explainStored(version, flags, id)
	}
	if flags.Bool("then") {
		return inspect.Explanation{}, errors.New("--then goes with --event; a request in a file comes now")
	}
	return explainRequest(version, flags, file, in)
}

// explainStored explains an event of a running relay.
func explainStored(version string, flags caddycmd.Flags, id string) (inspect.Explanation, error) {
	var explanation inspect.Explanation
	if flags.Bool("then") {
		if flags.String("config") != "" {
			return explanation, errors.New("--then and --config name two configurations to explain by; give one of them")
		}
		if flags.String("at") != "" {
			return explanation, errors.New("--then is at the time when the event came; give --then or --at")
		}
		var then api.ExplainedThen
		err := askRelay(flags, "explain/"+url.PathEscape(id)+"?by=then", &then)
		return then.Explanation, err
	}
	if flags.String("config") == "" {
		path := "explain/" + url.PathEscape(id)
		if at := flags.String("at"); at != "" {
			path += "?at=" + url.QueryEscape(at)
		}
		return explanation, askRelay(flags, path, &explanation)
	}
	file, err := readConfiguration(flags)
	if err != nil {
		return explanation, err
	}
	generation, err := file.compile(version, false)
	if err == nil {
		generation, err = placed(flags, generation)
	}
	if err != nil {
		return explanation, err
	}
	var stored inspect.StoredEvent
	if err := askRelay(flags, "stored/"+url.PathEscape(id), &stored); err != nil {
		return explanation, err
	}
	return inspect.ExplainStored(generation, stored)
}

// placed returns a generation at the time that --at names, or as it is.
func placed(flags caddycmd.Flags, generation *relay.Generation) (*relay.Generation, error) {
	text := flags.String("at")
	if text == "" {
		return generation, nil
	}
	at, err := api.ParseMoment(text, time.Now().In(generation.Configuration.Zone))
	if err != nil {
		return nil, fmt.Errorf("reading --at: %w", err)
	}
	return generation.At(at)
}

// askRelay reads a resource of a running relay.
func askRelay(flags caddycmd.Flags, path string, result any) error {
	client, err := newAdminClient(flags)
	if err == nil {
		_, err = client.get(context.Background(), path, nil, result)
	}
	return err
}

// explainRequest explains a request in a file.
func explainRequest(version string, flags caddycmd.Flags, file string, in io.Reader) (inspect.Explanation, error) {
	if file == "-" && flags.String("config") == "-" {
		return inspect.Explanation{}, errors.New("standard input cannot be both the request and the configuration")
	}
	request, err := readRequest(file, in)
	if err != nil {
		return inspect.Explanation{}, err
	}
	var client netip.Addr
	if from := flags.String("from"); from != "" {
		if client, err = netip.ParseAddr(from); err != nil {
			return inspect.Explanation{}, fmt.Errorf("reading --from: %q is not an IP address", from)
		}
	}
	loaded, err := readConfiguration(flags)
	if err != nil {
		return inspect.Explanation{}, err
	}
	generation, err := loaded.compile(version, !client.IsValid())
	if err == nil {
		generation, err = placed(flags, generation)
	}
	if err != nil {
		return inspect.Explanation{}, err
	}
	return loaded.explainRequest(generation, request, client, flags.String("source"))
}

// explainRequest explains a request by the relay of the configuration, compiled,
// at the handler to which its path leads. A source that is named needs none.
func (c *configurationFile) explainRequest(generation *relay.Generation, request *http.Request, client netip.Addr, source string) (inspect.Explanation, error) {
	mount, err := mountFor(request, c.sites().Mounts())
	switch {
	case err == nil:
		stripPath(request, mount)
		if _, err := generation.HandlerSources(mount.Sources); err != nil {
			return inspect.Explanation{}, fmt.Errorf("providing event_relay %s: %w", mount.Path, err)
		}
	case source == "":
		return inspect.Explanation{}, err
	default:
		// Without a handler, no part of the path is for the relay.
		mount.Path = request.URL.Path
	}
	return inspect.ExplainRequest(generation, request,
		receive.Origin{Mount: mount.Path, Client: client, Sources: mount.Sources}, source)
}
