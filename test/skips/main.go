// Command skips runs go test for the gate and keeps in mind which tests were
// skipped: go test says nothing of them, and a test that never runs proves
// nothing.
//
//	skips test ARGUMENTS…	run go test with these arguments
//	skips all ARGUMENTS…	the same; a test that is skipped fails, and so does a run without any test
//	skips list	list the tests that were skipped and ran in no step
//
// The environment variable EVENT_RELAY_TESTS names the file that the results are
// kept in. Without it test only prints what go test prints.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	status, err := 2, errors.New("usage: skips test ARGUMENTS… | skips all ARGUMENTS… | skips list")
	switch file := os.Getenv("EVENT_RELAY_TESTS"); {
	case len(os.Args) > 1 && (os.Args[1] == "test" || os.Args[1] == "all"):
		status, err = test(os.Args[2:], file, os.Args[1] == "all")
	case len(os.Args) == 2 && os.Args[1] == "list":
		status, err = 0, list(file)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = max(status, 1)
	}
	os.Exit(status)
}

// result is how a test has ended.
type result struct {
	Action, Package, Test, Output string
}

// test runs go test, prints what it would print, and appends the results to a
// file. It returns the exit status of go test. If all is set, it is an error that
// a test was left out.
func test(arguments []string, file string, all bool) (int, error) {
	kept := io.Discard
	if file != "" {
		opened, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return 1, fmt.Errorf("opening the file that EVENT_RELAY_TESTS names: %w", err)
		}
		defer opened.Close()
		kept = opened
	}
	command := exec.Command("go", append([]string{"test", "-json"}, arguments...)...)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	if err != nil {
		return 1, fmt.Errorf("running go test: %w", err)
	}
	if err := command.Start(); err != nil {
		return 1, fmt.Errorf("running go test: %w", err)
	}
	var results bytes.Buffer
	if err := follow(output, os.Stdout, io.MultiWriter(kept, &results), slices.Contains(arguments, "-v")); err != nil {
		_ = command.Process.Kill()
		return 1, err
	}
	var failed *exec.ExitError
	if err := command.Wait(); errors.As(err, &failed) {
		return failed.ExitCode(), nil
	} else if err != nil {
		return 1, fmt.Errorf("running go test: %w", err)
	}
	if all {
		return 0, leftOut(&results)
	}
	return 0, nil
}

// leftOut returns an error that names the tests that were skipped, or says that there
// were none.
func leftOut(results io.Reader) error {
	skipped, ran, err := unrun(results)
	switch {
	case err != nil:
		return err
	case len(skipped) > 0:
		return fmt.Errorf("skipped here, where no test may be:\n%s", strings.Join(skipped, "\n"))
	case ran == 0:
		return errors.New("no test ran")
	}
	return nil
}

// follow reads the events of go test -json. It prints the lines of packages and
// what a failed test has written; what every test writes if all is set. It keeps
// the results of tests, with what a skipped test has written.
func follow(events io.Reader, printed, kept io.Writer, all bool) error {
	lines := bufio.NewReader(events)
	written := make(map[[2]string]string) // by package and test
	for {
		line, err := lines.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading what go test prints: %w", err)
		}
		if line == "" {
			return nil
		}
		var event result
		if json.Unmarshal([]byte(line), &event) != nil {
			fmt.Fprint(printed, line) // from a tool that go test has run
			continue
		}
		key := [2]string{event.Package, event.Test}
		switch {
		case event.Action == "output" && event.Test != "":
			written[key] += event.Output
			if all {
				fmt.Fprint(printed, event.Output)
			}
		case strings.HasSuffix(event.Action, "output") && event.Output != "PASS\n":
			fmt.Fprint(printed, event.Output)
		case event.Test == "" && event.Action == "fail":
			// Tests that have not ended: the program has panicked, or it took too long.
			for key, text := range written {
				if key[0] == event.Package && !all {
					fmt.Fprint(printed, text)
				}
			}
		case event.Action == "pass", event.Action == "skip", event.Action == "fail":
			if event.Action == "fail" && !all {
				fmt.Fprint(printed, written[key])
			}
			if event.Test != "" {
				event.Output = written[key]
				if event.Action == "pass" {
					event.Output = ""
				}
				if err := json.NewEncoder(kept).Encode(event); err != nil {
					return fmt.Errorf("keeping the result of a test: %w", err)
				}
			}
			delete(written, key)
		}
	}
}

// list prints each test that was skipped, with its reason, unless another step
// has run it.
func list(file string) error {
	kept, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("opening the file that EVENT_RELAY_TESTS names: %w", err)
	}
	defer kept.Close()
	skipped, _, err := unrun(kept)
	if err != nil {
		return err
	}
	for _, line := range skipped {
		fmt.Println(line)
	}
	if len(skipped) == 0 {
		fmt.Println("no test was skipped")
	}
	return nil
}

// unrun returns a line for each test that was skipped and did not run, and how many ran.
func unrun(kept io.Reader) (lines []string, number int, err error) {
	reasons, ran := make(map[string]string), make(map[string]bool)
	for decoder := json.NewDecoder(kept); ; {
		var event result
		err := decoder.Decode(&event)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, 0, fmt.Errorf("reading the results of tests: %w", err)
		}
		name := event.Package + " " + event.Test
		if ran[name] = ran[name] || event.Action != "skip"; !ran[name] {
			reasons[name] = reason(event.Output)
		}
	}
	for _, did := range ran {
		if did {
			number++
		}
	}
	for name, why := range reasons {
		if !ran[name] {
			lines = append(lines, name+": "+why)
		}
	}
	slices.Sort(lines)
	return lines, number, nil
}

// reason returns what a test has written, without the lines of go test and the
// places in the source.
func reason(output string) string {
	var texts []string
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "=== ") || strings.HasPrefix(line, "--- ") {
			continue
		}
		if place, text, found := strings.Cut(line, ": "); found && strings.Contains(place, "_test.go:") {
			line = text
		}
		texts = append(texts, line)
	}
	if len(texts) == 0 {
		return "it gives no reason"
	}
	return strings.Join(texts, " ")
}
