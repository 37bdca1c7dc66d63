package command

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"

	"github.com/caddy-event-relay/event-relay/internal/inspect"
	"github.com/caddy-event-relay/event-relay/internal/names"
	"github.com/caddy-event-relay/event-relay/internal/relay"
)

func testCommand(version string) *cobra.Command {
	command := &cobra.Command{
		Use:   "test [DIR]",
		Short: "Tests a configuration with request files that say what is expected of them",
		Long: `
Runs all cases, which are the files *.http in DIR and below (default: tests; a
single file will do), against the configuration that --config names, by default
the Caddyfile in the current directory. Nothing is stored or sent, and no server
is needed.

A case is a request file as for explain --request, with lines on top:

  # given: source icfm             counts as one of it, without its credential
  # given: from 203.0.113.7        its address, which "allow" then checks
  # given: time 2026-03-13 21:00   in the relay's zone, or as in RFC 3339
  # expect: verdict action         or ignored, rule_error, disabled
  # expect: action make_folder     all actions, one a line
  # expect: request make_folder "project": 48213
  # expect: event project_created  the event's name
  # expect: status 401             the answer, also a refusal

With several events in a request, verdict and event are those of all, or are
given once for each in order. A request must hold the text on one of its lines.
Comments of another kind are free. A misspelt word is an error.

The exit status is 0 if all cases pass, and 1 if one fails or cannot be read.`,
		Example: `  caddy event-relay test --config Caddyfile
  caddy event-relay test tests/pbx --envfile test.env --tap
  caddy event-relay show 0199f3c2-7d11 --http --expect >tests/project.http`,
		Args: cobra.MaximumNArgs(1),
		RunE: running(func(i *invocation) (int, error) { return runTest(version, i) }),
	}
	flags := command.Flags()
	flags.StringP("config", "c", "", "Configuration file to test")
	flags.StringP("adapter", "a", "", "Name of the adapter of --config")
	flags.Bool("tap", false, "Print the results in the Test Anything Protocol")
	return command
}

// caseResult is what came of a case.
type caseResult struct {
	Case   string `json:"case"`
	Passed bool   `json:"passed"`
	// Wrong says what is not as expected, a sentence each.
	Wrong []string `json:"wrong,omitempty"`
}

func runTest(version string, i *invocation) (int, error) {
	results, err := i.testResults(version)
	if err != nil {
		return caddy.ExitCodeFailedStartup, err
	}
	failed := 0
	for _, result := range results {
		if !result.Passed {
			failed++
		}
	}
	switch {
	case i.Bool("json"):
		err = writeJSON(i.out, results)
	case i.Bool("tap"):
		_, err = fmt.Fprint(i.out, tapText(results))
	default:
		_, err = fmt.Fprint(i.out, resultsText(results, failed))
	}
	if err == nil && failed > 0 {
		err = fmt.Errorf("testing the configuration: %s of %d failed", counted(failed, "case", "cases"), len(results))
	}
	return exitStatus(err), err
}

// testResults runs the cases.
func (i *invocation) testResults(version string) ([]caseResult, error) {
	directory := "tests"
	if i.NArg() > 0 {
		directory = i.Arg(0)
	}
	files, err := caseFiles(directory)
	if err != nil {
		return nil, err
	}
	if i.Bool("json") && i.Bool("tap") {
		return nil, errors.New("--json and --tap are two forms of the results; give one of them")
	}
	file, err := readConfiguration(i.Flags)
	if err != nil {
		return nil, err
	}
	tester := &tester{version: version, configuration: file, compiled: map[bool]*relay.Generation{}}
	results := make([]caseResult, len(files))
	for n, name := range files {
		wrong, err := tester.run(name)
		if err != nil {
			wrong = []string{err.Error()}
		}
		if tester.broken != nil {
			return nil, tester.broken
		}
		results[n] = caseResult{Case: filepath.ToSlash(name), Passed: len(wrong) == 0, Wrong: wrong}
	}
	return results, nil
}

// caseFiles returns the cases in a directory and below, in order of their names.
func caseFiles(directory string) (files []string, err error) {
	err = filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && (path == directory || strings.HasSuffix(path, ".http")) {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for cases: %w; name their directory: %s", err, names.Command("test DIR"))
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("looking for cases: there is no file *.http in %s or below", directory)
	}
	return files, nil
}

// tester runs cases against a configuration, which it compiles once for requests
// from anywhere and once for those with an address.
type tester struct {
	version       string
	configuration *configurationFile
	compiled      map[bool]*relay.Generation
	// broken is why the configuration cannot be compiled.
	broken error
}

// run runs a case and returns what is not as expected.
func (t *tester) run(name string) (wrong []string, err error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the case: %w", err)
	}
	c, err := parseCase(raw)
	if err != nil {
		return nil, fmt.Errorf("reading the case: %w", err)
	}
	anywhere := !c.from.IsValid()
	generation := t.compiled[anywhere]
	if generation == nil {
		if generation, t.broken = t.configuration.compile(t.version, anywhere); t.broken != nil {
			return nil, t.broken
		}
		t.compiled[anywhere] = generation
	}
	if c.time != "" {
		at, err := caseTime(c.time, generation.Configuration.Zone)
		if err != nil {
			return nil, err
		}
		if generation, err = generation.At(at); err != nil {
			return nil, err
		}
	}
	var explanation inspect.Explanation
	if explanation, err = t.configuration.explainRequest(generation, c.request, c.from, c.source); err != nil {
		return nil, err
	}
	for _, sentence := range c.compare(&explanation) {
		wrong = append(wrong, printableLines(sentence))
	}
	return wrong, nil
}

// printableLines makes each line of a text harmless on a terminal.
func printableLines(text string) string {
	lines := strings.Split(text, "\n")
	for n := range lines {
		lines[n] = printable(lines[n])
	}
	return strings.Join(lines, "\n")
}

// resultsText is the results for people.
func resultsText(results []caseResult, failed int) string {
	var b strings.Builder
	for _, result := range results {
		if result.Passed {
			fmt.Fprintf(&b, "ok    %s\n", printable(result.Case))
			continue
		}
		fmt.Fprintf(&b, "FAIL  %s\n", printable(result.Case))
		for _, wrong := range result.Wrong {
			fmt.Fprintf(&b, "      %s\n", strings.ReplaceAll(wrong, "\n", "\n      "))
		}
	}
	fmt.Fprintf(&b, "\n%d passed, %d failed\n", len(results)-failed, failed)
	return b.String()
}

// tapText is the results in the Test Anything Protocol (testanything.org, version
// 13).
func tapText(results []caseResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "TAP version 13\n1..%d\n", len(results))
	for n, result := range results {
		if !result.Passed {
			b.WriteString("not ")
		}
		// A # would begin a directive.
		fmt.Fprintf(&b, "ok %d - %s\n", n+1, strings.ReplaceAll(printable(result.Case), "#", "\\#"))
		for _, wrong := range result.Wrong {
			fmt.Fprintf(&b, "# %s\n", strings.ReplaceAll(wrong, "\n", "\n# "))
		}
	}
	return b.String()
}
