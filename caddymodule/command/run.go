package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Exit statuses of the commands beyond 0 (done) and 1 (error).
const (
	// exitAttention means that the command was carried out and found something to act
	// on. The help of each command says what.
	exitAttention = 2
	// exitNothing means that nothing was there to be done.
	exitNothing = 3
)

// invocation is one run of a command.
type invocation struct {
	caddycmd.Flags
	// context ends when the administrator presses Ctrl-C.
	context context.Context
	in      io.Reader
	// out gets data, report all else: progress, questions, remarks.
	out, report io.Writer
}

// running adapts a command that returns its exit status.
func running(run func(*invocation) (int, error)) func(*cobra.Command, []string) error {
	return func(command *cobra.Command, arguments []string) error {
		// The exit status says it; cobra would add a line that says that it does.
		command.SilenceErrors = true
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return caddycmd.WrapCommandFuncForCobra(func(flags caddycmd.Flags) (int, error) {
			return run(&invocation{
				Flags: flags, context: ctx,
				in: command.InOrStdin(), out: command.OutOrStdout(), report: command.ErrOrStderr(),
			})
		})(command, arguments)
	}
}

// talking adapts a command that talks to a running relay and either succeeds or
// fails.
func talking(run func(*invocation, *adminClient) error) func(*cobra.Command, []string) error {
	return running(func(i *invocation) (int, error) {
		client, err := newAdminClient(i.Flags)
		if err == nil {
			err = run(i, client)
		}
		return exitStatus(err), err
	})
}

// errDeclined is the error when the administrator answers no.
var errDeclined = errors.New("nothing was done")

// confirm asks the administrator, unless --yes was given.
func (i *invocation) confirm(question string) error {
	if i.Bool("yes") {
		return nil
	}
	if !isTerminal(i.in) {
		return errors.New("asking whether to go on: standard input is not a terminal; give --yes if you are sure, or --dry-run to see what would be done")
	}
	return askYes(i.in, i.report, question)
}

// askYes asks a question that is answered by y or anything else.
func askYes(in io.Reader, out io.Writer, question string) error {
	fmt.Fprintf(out, "%s [y/N] ", question)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("asking whether to go on: %w", err)
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return errDeclined
}

func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// terminalWidth returns how many characters fit a line, 0 where lines have no
// end: in files and pipes nothing is cut.
func terminalWidth(stream any) int {
	if !isTerminal(stream) {
		return 0
	}
	width, _, err := term.GetSize(int(stream.(*os.File).Fd()))
	if err != nil {
		return 0
	}
	return width
}

func exitStatus(err error) int {
	if err != nil {
		return caddy.ExitCodeFailedStartup
	}
	return caddy.ExitCodeSuccess
}
