package examples_test

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

var metricName = regexp.MustCompile(`\bcaddy_[a-z_]+`)

// ofPostgres are the metrics of a queue in PostgreSQL alone.
var ofPostgres = []string{
	"caddy_event_relay_queue_synchronous", "caddy_event_relay_queue_oldest_transaction_seconds",
	"caddy_event_relay_node_up", "caddy_event_relay_node_seen_seconds", "caddy_event_relay_node_info", "caddy_event_relay_node_clock_ahead_seconds", "caddy_event_relay_nodes_differ",
}

// TestMonitoring looks for every metric that alerts and dashboard name in what
// Prometheus gets, and for every metric of the relay on the dashboard.
func TestMonitoring(t *testing.T) {
	t.Parallel()
	lan, metrics, admin := newLAN(t), freeAddress(t), freeAddress(t)
	e := start(t, "monitoring", lan.URL, "METRICS="+metrics, "CADDY_ADMIN="+admin)
	e.post("request.http")
	lan.next(t, "POST /folders")
	// What is switched off is there only while it is.
	answer, err := http.Post("http://"+admin+"/event_relay/switch", "application/json",
		strings.NewReader(`{"kind": "action", "name": "create_project_folder", "off": true}`))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatalf("switching an action off is answered %s", answer.Status)
	}

	var scraped []string
	waitFor(t, "the attempt to be counted", func() bool {
		scraped = scrape(t, "http://"+metrics+"/metrics")
		return slices.Contains(scraped, "caddy_event_relay_attempt_duration_seconds_bucket")
	})
	shown := metricName.FindAllString(read(t, "monitoring/grafana-dashboard.json"), -1)
	for _, file := range []string{"monitoring/alerts.yml", "monitoring/grafana-dashboard.json", "monitoring/README.md", "../docs/metrics.md"} {
		named := metricName.FindAllString(read(t, file), -1)
		for _, name := range named {
			if !slices.Contains(scraped, name) && !slices.Contains(scraped, name+"_sum") && name != "caddy_event_relay" && !slices.Contains(ofPostgres, name) {
				t.Errorf("%s names %s, which is no metric; there are %v", file, name, scraped)
			}
		}
		if len(named) == 0 {
			t.Errorf("%s names no metric", file)
		}
	}
	manual := read(t, "../docs/metrics.md")
	for _, name := range scraped {
		if !strings.HasPrefix(name, "caddy_event_relay_") {
			continue
		}
		if !slices.Contains(shown, name) {
			t.Errorf("the dashboard does not show %s", name)
		}
		if parts := regexp.MustCompile(`_(bucket|sum|count)$`); !strings.Contains(manual, "`"+parts.ReplaceAllString(name, "")+"`") {
			t.Errorf("the manual does not say what %s is", name)
		}
	}
}

// scrape returns the names of all metrics.
func scrape(t *testing.T, url string) (names []string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("a scrape is answered %s, %v:\n%s", response.Status, err, text)
	}
	for line := range strings.Lines(string(text)) {
		if name := metricName.FindString(line); name != "" && strings.HasPrefix(line, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestMonitoringFiles reads the files as Prometheus and Grafana do, as far as
// that goes without them.
func TestMonitoringFiles(t *testing.T) {
	t.Parallel()
	strictly := func(file string, into any) {
		t.Helper()
		decoder := yaml.NewDecoder(strings.NewReader(read(t, file)))
		decoder.KnownFields(true)
		if err := decoder.Decode(into); err != nil {
			t.Fatalf("reading %s: %v", file, err)
		}
	}
	var alerts struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	strictly("monitoring/alerts.yml", &alerts)
	readme := read(t, "monitoring/README.md")
	count := 0
	for _, group := range alerts.Groups {
		for _, rule := range group.Rules {
			count++
			if !slices.Contains([]string{"critical", "warning", "info"}, rule.Labels["severity"]) ||
				rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.Expr == "" {
				t.Errorf("the alert %s lacks something: %+v", rule.Alert, rule)
			}
			if !strings.Contains(readme, "`"+rule.Alert+"`") {
				t.Errorf("README.md does not say what %s means", rule.Alert)
			}
		}
	}
	if count == 0 {
		t.Error("there are no alerts")
	}

	var prometheus struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string `yaml:"job_name"`
			StaticConfigs []struct {
				Targets []string
			} `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	strictly("monitoring/prometheus.yml", &prometheus)
	if !slices.Equal(prometheus.RuleFiles, []string{"alerts.yml"}) || len(prometheus.ScrapeConfigs) != 1 {
		t.Errorf("prometheus.yml says %+v", prometheus)
	}
	// The alerts ask for the job by its name.
	if job := prometheus.ScrapeConfigs[0].JobName; !strings.Contains(read(t, "monitoring/alerts.yml"), `job="`+job+`"`) {
		t.Errorf("no alert is about the job %s", job)
	}

	type dataSource struct{ Type, UID string }
	var dashboard struct {
		Title      string
		Templating struct {
			List []struct{ Name, Type string }
		}
		Panels []struct {
			ID          int
			Title, Type string
			Datasource  dataSource
			Targets     []struct{ Expr string }
			GridPos     struct{ X, Y, W, H int }
			Description string
		}
	}
	if err := json.Unmarshal([]byte(read(t, "monitoring/grafana-dashboard.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Templating.List) == 0 || dashboard.Templating.List[0].Type != "datasource" {
		t.Errorf("the dashboard does not let its data source be chosen: %+v", dashboard.Templating)
	}
	seen := make(map[int]bool)
	taken := make(map[[2]int]string)
	for _, panel := range dashboard.Panels {
		if seen[panel.ID] || panel.Datasource.UID != "${datasource}" || len(panel.Targets) == 0 || panel.Title == "" {
			t.Errorf("a panel is wrong: %+v", panel)
		}
		seen[panel.ID] = true
		for x := panel.GridPos.X; x < panel.GridPos.X+panel.GridPos.W; x++ {
			for y := panel.GridPos.Y; y < panel.GridPos.Y+panel.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q lies over %q or the edge", panel.Title, other)
				}
				taken[[2]int{x, y}] = panel.Title
			}
		}
		for _, target := range panel.Targets {
			if !strings.Contains(target.Expr, `{instance=~"$instance"`) {
				t.Errorf("%q shows every instance: %s", panel.Title, target.Expr)
			}
		}
	}
	if len(dashboard.Panels) == 0 {
		t.Error("the dashboard has no panels")
	}
}
