package command

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"
)

// loadEnvironmentFiles sets the environment variables that the files of
// --envfile name, unless they are set already, as `caddy run --envfile` does.
// Without them, a command cannot read a configuration whose secrets are in such
// a file.
func loadEnvironmentFiles(names []string) error {
	for _, name := range names {
		file, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("reading --envfile: %w", err)
		}
		values, err := parseEnvironment(file)
		file.Close()
		if err != nil {
			return fmt.Errorf("reading --envfile %s: %w", name, err)
		}
		for key, value := range values {
			if _, set := os.LookupEnv(key); set {
				continue
			}
			if err := os.Setenv(key, value); err != nil {
				return fmt.Errorf("reading --envfile %s: setting %s: %w", name, key, err)
			}
		}
	}
	return nil
}

// parseEnvironment reads lines of KEY=VALUE by the rules of Caddy's own
// --envfile (parseEnvFile in its cmd/main.go, which is not exported), so that a
// file means the same to the server and to the commands: # begins a comment,
// also behind a value; a value in quotes may span lines; nothing is expanded.
func parseEnvironment(in io.Reader) (map[string]string, error) {
	values := map[string]string{}
	lines := bufio.NewScanner(in)
	number := 0
	for lines.Scan() {
		number++
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		key = strings.TrimPrefix(key, "export ")
		switch {
		case !found || key == "":
			return nil, fmt.Errorf("line %d is not KEY=VALUE", number)
		case strings.Contains(key, " "):
			return nil, fmt.Errorf("line %d: there is a space in the name %q", number, key)
		case strings.HasPrefix(value, " ") || strings.HasPrefix(value, "\t"):
			return nil, fmt.Errorf("line %d: there is a space between = and the value of %s", number, key)
		}
		if before, _, comment := strings.Cut(value, "#"); comment {
			value = strings.TrimRight(before, " \t")
		}
		if quote := value[:min(1, len(value))]; quote == `"` || quote == "'" {
			for !strings.HasSuffix(line, quote) || strings.HasSuffix(line, `\`+quote) {
				value = strings.ReplaceAll(value, `\`+quote, quote)
				if !lines.Scan() {
					break
				}
				number++
				line = strings.ReplaceAll(lines.Text(), `\`+quote, quote)
				value += "\n" + line
			}
			value = strings.TrimSuffix(strings.TrimPrefix(value, quote), quote)
		}
		values[key] = value
	}
	return values, lines.Err()
}
