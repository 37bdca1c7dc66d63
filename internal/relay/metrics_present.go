package relay

import (
	"cmp"
	"context"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/caddy-event-relay/event-relay/internal/queue"
)

// scrapeWithin bounds how long a scrape waits for a busy queue. Prometheus gives
// up after 10s by default.
const scrapeWithin = 5 * time.Second

var (
	pendingMetric = metric("pending_deliveries",
		"Unfinished deliveries, by action.", "action")
	oldestPendingMetric = metric("oldest_pending_seconds",
		"How long the oldest unfinished delivery has been waiting, by action; 0 if there is none.", "action")
	downMetric = metric("targets_down",
		"How many of the targets of an action are down (they cannot be reached, or give no proper answer), by action. An action has several if its host depends on the tenant.", "action")
	quietMetric = metric("source_quiet",
		"Whether a source has been silent for longer than its quiet (1) or not (0), of those that have one.", "source")
	maxPendingMetric = metric("max_pending_deliveries",
		"How many deliveries may be unfinished before events are refused (max_pending).")
	queueBytesMetric = metric("queue_bytes",
		"How many bytes the queue and the history take on disk.")
	queueFreeMetric = metric("queue_free_bytes",
		"How many bytes are free on the file system of the queue, if the queue is in files of its own.")
	standbysMetric = metric("queue_synchronous",
		"Whether an event that is answered 200 is on a standby too (1) or on one database server alone (0); of a queue in a database server.")
	oldestTransactionMetric = metric("queue_oldest_transaction_seconds",
		"How long the oldest transaction has been open that keeps the database server from clearing away what is done; 0 if none is older than a minute. Of a queue in a database server.")
	minFreeMetric = metric("queue_min_free_bytes",
		"Below how many free bytes events are refused (min_free); 0 if free space is not looked at.")
	switchedOffMetric = metric("switched_off",
		"What was switched off while the relay was running: 1 for each, by kind (action, event, all) and name.", "kind", "name")
	nodeUpMetric = metric("node_up",
		"Whether a node that shares the queue lives (1) or vanished without closing it (0), of those seen in the last week, by node.", "node")
	nodeSeenMetric = metric("node_seen_seconds",
		"How long ago a node that lives or vanished gave its last sign of life, by node.", "node")
	nodeInfoMetric = metric("node_info",
		"The version and the configuration of a node that lives, and whether it carries out deliveries (true or false), as labels; the value is always 1.", "node", "version", "configuration", "delivers")
	nodeAheadMetric = metric("node_clock_ahead_seconds",
		"By how many seconds the clock of a node that lives is ahead of that of the database, negative if it is behind, 0 while they agree to some seconds, by node.", "node")
	nodesDifferMetric = metric("nodes_differ",
		"Whether the nodes that live run different versions or configurations (1) or not (0).")
	versionMetric = metric("version_info",
		"The version of Event Relay, as a label; the value is always 1.", "version")
)

// presentMetrics are all of the above: one that Describe leaves out would take all metrics of
// Caddy from the page.
var presentMetrics []*prometheus.Desc

func metric(name, help string, labels ...string) *prometheus.Desc {
	description := prometheus.NewDesc(metricName(name), help, labels, nil)
	presentMetrics = append(presentMetrics, description)
	return description
}

// present reads what is true at the moment of a scrape. It looks for the newest
// generation each time, because Caddy keeps serving the registry of a
// configuration that failed to load.
type present struct{ stack *Stack }

// Describe says which metrics there can be.
func (present) Describe(descriptions chan<- *prometheus.Desc) {
	for _, description := range presentMetrics {
		descriptions <- description
	}
}

// Collect reads the metrics. Without a generation in service there are none: an
// error would take all other metrics of Caddy from the page.
func (p present) Collect(into chan<- prometheus.Metric) {
	generation := p.stack.Newest()
	if generation == nil {
		return
	}
	gauge := func(description *prometheus.Desc, value float64, labels ...string) {
		// Names that are not UTF-8 are left out, as in count.
		if metric, err := prometheus.NewConstMetric(description, prometheus.GaugeValue, value, labels...); err == nil {
			into <- metric
		}
	}
	runtime, configuration := generation.Runtime(), &generation.Configuration
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWithin)
	defer cancel()
	// With an error, as of a queue that is closing, there are no values rather than
	// wrong ones.
	if backlog, err := runtime.Store().Backlog(ctx); err == nil {
		waiting := make(map[string]queue.Backlog, len(backlog))
		for _, action := range generation.ActionNames() {
			waiting[action] = queue.Backlog{}
		}
		for _, line := range backlog {
			waiting[line.Action] = line
		}
		for action, line := range waiting {
			oldest := 0.0
			if line.Count > 0 {
				oldest = max(0, time.Since(line.Oldest).Seconds())
			}
			gauge(pendingMetric, float64(line.Count), action)
			gauge(oldestPendingMetric, oldest, action)
		}
	}
	for action, targets := range runtime.watch.downByAction(generation) {
		gauge(downMetric, float64(targets), action)
	}
	quiet := make(map[string]float64)
	for _, source := range runtime.watch.silent(generation, time.Now()) {
		quiet[source.Source] = 1
	}
	for _, source := range configuration.Sources {
		if source.Quiet > 0 {
			gauge(quietMetric, quiet[source.Name], source.Name)
		}
	}
	usage := runtime.Store().Usage()
	gauge(queueBytesMetric, float64(usage.Bytes))
	if usage.Free >= 0 {
		gauge(queueFreeMetric, float64(usage.Free))
	}
	if usage.Server != nil {
		gaugeServer(gauge, usage.Server)
	}
	gauge(minFreeMetric, float64(max(0, configuration.MinFree)))
	gauge(maxPendingMetric, float64(configuration.MaxPending))
	for _, off := range runtime.Switches() {
		gauge(switchedOffMetric, 1, string(off.Kind), off.Name)
	}
	if nodes, err := Nodes(ctx, runtime); err == nil && nodes != nil {
		differ, now := false, Now(runtime)
		for _, node := range nodes {
			if node.Closed {
				continue
			}
			gauge(nodeUpMetric, oneIf(node.Lives), node.Name)
			gauge(nodeSeenMetric, max(0, now.Sub(node.Seen).Seconds()), node.Name)
			if node.Lives {
				gauge(nodeInfoMetric, 1, node.Name, cmp.Or(node.Version, "unknown"), node.Configuration, strconv.FormatBool(node.Delivers))
				gauge(nodeAheadMetric, float64(node.Ahead), node.Name)
				differ = differ || node.Differs || node.Version != configuration.Version
			}
		}
		gauge(nodesDifferMetric, oneIf(differ))
	}
	gauge(versionMetric, 1, cmp.Or(configuration.Version, "unknown"))
}

// gaugeServer tells of the database server that holds the queue. Of one that cannot be
// asked, nothing is told.
func gaugeServer(gauge func(*prometheus.Desc, float64, ...string), server *queue.Server) {
	if server.Version == "" {
		return
	}
	synchronous, oldest := 0.0, 0.0
	if server.Standbys != "" {
		synchronous = 1
	}
	if server.Oldest != nil {
		oldest = max(0, time.Since(server.Oldest.Since).Seconds())
	}
	gauge(standbysMetric, synchronous)
	gauge(oldestTransactionMetric, oldest)
}

func oneIf(holds bool) float64 {
	if holds {
		return 1
	}
	return 0
}

// downByAction returns how many targets of each action are down.
func (w *watch) downByAction(generation *Generation) map[string]int {
	down := make(map[string]bool)
	for _, target := range w.down(generation) {
		down[withPort(target.Target)] = true
	}
	byAction := make(map[string]int, len(generation.Actions))
	for _, action := range generation.Actions {
		count := 0
		for _, target := range action.Targets() {
			if down[withPort(target)] {
				count++
			}
		}
		byAction[action.Name()] = count
	}
	return byAction
}
