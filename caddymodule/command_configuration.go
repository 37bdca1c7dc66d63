package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// errNoConfiguration says that no file was named and none lies in the current
// directory.
var errNoConfiguration = errors.New("reading the configuration: there is no Caddyfile here; name a file with --config")

// readConfiguration reads the file of --config, by default the Caddyfile in the
// current directory, and returns it as Caddy's JSON, with the name of the file.
func readConfiguration(flags caddycmd.Flags) (config []byte, file string, err error) {
	config, file, _, err = caddycmd.LoadConfig(flags.String("config"), flags.String("adapter"))
	if err != nil {
		return nil, "", fmt.Errorf("reading the configuration: %w", err)
	}
	if file == "" {
		return nil, "", errNoConfiguration
	}
	return config, file, nil
}

// adminAddress finds the address of the admin API as `caddy reload` does. A
// configuration without an admin API is an error: at the default address
// another Caddy may answer, and would be taken for the one that was meant.
func adminAddress(flags caddycmd.Flags) (string, error) {
	if address := flags.String("address"); address != "" || flags.String("config") == "" {
		return caddycmd.DetermineAdminAPIAddress(address, nil, "", "")
	}
	config, file, err := readConfiguration(flags)
	if err != nil {
		return "", err
	}
	var parsed struct {
		Admin struct {
			Disabled bool `json:"disabled"`
		} `json:"admin"`
	}
	if err := json.Unmarshal(config, &parsed); err != nil {
		return "", fmt.Errorf("reading %s: %w", file, err)
	}
	if parsed.Admin.Disabled {
		return "", fmt.Errorf("this configuration has `admin off` (%s), so that no command can reach its relay; "+
			"give it an address, such as `admin unix//run/caddy/admin.sock`, or name another relay with --address", file)
	}
	return caddycmd.DetermineAdminAPIAddress("", config, file, "")
}
