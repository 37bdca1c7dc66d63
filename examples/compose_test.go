package examples_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestComposeFile reads the compose file of the cluster as Compose would: what it names
// exists, and what the Caddyfile takes from the environment is given. It starts no
// container.
func TestComposeFile(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("cluster/compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	type service struct {
		Image       string
		Environment map[string]string
		Volumes     []string
		Ports       []string
		Restart     string
		Healthcheck struct {
			Test     []string
			Interval string
			Retries  int
		}
		DependsOn map[string]struct{ Condition string } `yaml:"depends_on"`
	}
	var file struct {
		Relay       service           `yaml:"x-relay"`
		Environment map[string]string `yaml:"x-environment"`
		Services    map[string]service
		Volumes     map[string]any
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(text)))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil {
		t.Fatal(err)
	}
	if len(file.Services) != 5 {
		t.Errorf("it has %d services, want a database, three relays and a balancer", len(file.Services))
	}
	balancer := file.Services["balancer"]
	for name, s := range file.Services {
		if s.Image == "" {
			t.Errorf("%s has no image", name)
		}
		for _, volume := range s.Volumes {
			from, _, _ := strings.Cut(volume, ":")
			if local, isFile := strings.CutPrefix(from, "./"); isFile {
				if _, err := os.Stat(filepath.Join("cluster", local)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			} else if _, declared := file.Volumes[from]; !declared {
				t.Errorf("%s has the volume %s, which the file does not declare", name, from)
			}
		}
		for on, depends := range s.DependsOn {
			if depends.Condition != "service_healthy" || len(file.Services[on].Healthcheck.Test) == 0 {
				t.Errorf("%s waits for %s, which has no health check", name, on)
			}
		}
		if !strings.HasPrefix(name, "relay") {
			continue
		}
		for _, variable := range []string{"RELAY_DB", "SHOP_TOKEN", "LAN", "BIND", "BALANCER", "NODE"} {
			if s.Environment[variable] == "" {
				t.Errorf("%s has no %s", name, variable)
			}
		}
		if s.Environment["NODE"] != name || !strings.Contains(balancer.Environment["NODES"], name+":8080") {
			t.Errorf("%s is the node %s, and the balancer has %s", name, s.Environment["NODE"], balancer.Environment["NODES"])
		}
	}
}
