package command

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
)

func showCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "show <id>",
		Short: "Shows one event: its request, the verdict and why, deliveries and attempts",
		Long: `
Shows one event by its id or the id of one of its deliveries. A beginning of at
least 8 characters will do if only one has it.

With --http, the event is written as a request, to be kept beside the Caddyfile
or to be tried with explain --request. Credentials are not in it, because none
are stored: give explain --source, too. With --expect, lines on top name the
source and the time, and expect the verdict and the actions that there were:
'caddy event-relay test' runs it.`,
		Example: `  caddy event-relay show 0199f3c2-7d11-7cc3
  caddy event-relay show 0199f3c2-7d11-7cc3 --http >project.http
  caddy event-relay explain --config Caddyfile.new --request project.http --source icfm`,
		Args: cobra.ExactArgs(1),
		RunE: talking(runShow),
	}
	command.Flags().Bool("http", false, "Write the event as a request file")
	command.Flags().Bool("expect", false, "With --http: write it as a case for the command test, which expects what was decided")
	return command
}

func runShow(i *invocation, client *adminClient) error {
	path := "events/" + url.PathEscape(i.Arg(0))
	if i.Bool("expect") {
		if !i.Bool("http") {
			return errors.New("--expect goes with --http: a case is a request file")
		}
		var detail inspect.Detail
		if _, err := client.get(i.context, path, nil, &detail); err != nil {
			return err
		}
		if _, err := io.WriteString(i.out, expectations(&detail)); err != nil {
			return err
		}
	}
	if i.Bool("http") {
		return showRequest(i, client, path+"/http")
	}
	var detail inspect.Detail
	raw, err := client.get(i.context, path, nil, &detail)
	if err != nil {
		return err
	}
	if i.Bool("json") {
		_, err = i.out.Write(raw)
		return err
	}
	writeDetail(i.out, detail)
	return nil
}

// showRequest writes an event as a request: as it is into a file or a pipe, and
// harmless on a terminal.
func showRequest(i *invocation, client *adminClient, path string) error {
	response, err := client.open(i.context, http.MethodGet, path, nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if !isTerminal(i.out) {
		_, err = io.Copy(i.out, response.Body)
		return err
	}
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	lines := strings.Split(string(raw), "\n")
	for n, line := range lines {
		lines[n] = printable(strings.TrimRight(line, "\r"))
	}
	_, err = io.WriteString(i.out, strings.Join(lines, "\n"))
	return err
}
