package e2e_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCheckOfARunningRelay(t *testing.T) {
	t.Parallel()
	machine, folders := newInstallation(t), newStandIn(t)
	config := machine.folders(folders.URL, "folder", `"Approved"`)
	file := machine.write(config)
	machine.expect(1, "check --config "+file, "Checked      configuration "+file, "Not checked  database", "nothing answers there")

	machine.start(config)
	machine.post(`{"event":"project_created","state":"Approved","name":"First"}`)
	machine.expect(0, "check --config "+file, "Checked      configuration "+file, "Checked      relay at "+machine.admin, "Warning      a rule asks for project_status", "at Caddyfile:")
	broken := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(broken, []byte(strings.Replace(config, "do folder", "do fodler", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	machine.expect(1, "check --config "+broken, "FAULT", "did you mean folder?")
}
