package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/relay"
)

// vanishedWithin is how long a node that vanished calls for a look. One that does not
// come back, such as a container that got another name, is not to be told of for longer.
const vanishedWithin = 24 * time.Hour

// nodeWarnings says what is wrong with the nodes that share a queue, as one of them
// sees it.
func nodeWarnings(nodes []relay.Node, now time.Time, zone *time.Location) (warnings []string) {
	var own string
	var differ []string
	var versions []string
	lives, delivers := 0, 0
	byVersion := map[string][]string{}
	for _, node := range nodes {
		if node.Vanished && now.Sub(node.Seen) < vanishedWithin {
			warnings = append(warnings, fmt.Sprintf("node %s vanished at %s without closing the queue: see to that machine; the other nodes carry out what it left",
				node.Name, node.Seen.In(zone).Format("2006-01-02 15:04 MST")))
		}
		if !node.Lives {
			continue
		}
		lives++
		if node.Delivers {
			delivers++
		}
		if node.Self {
			own = node.Name
		}
		if node.Differs {
			differ = append(differ, node.Name)
		}
		version := cmp.Or(node.Version, "built without a revision")
		if byVersion[version] == nil {
			versions = append(versions, version)
		}
		byVersion[version] = append(byVersion[version], node.Name)
	}
	warnings = append(warnings, clockWarnings(nodes)...)
	if len(differ) > 0 {
		what := "node %s runs another configuration than this one, %s"
		if len(differ) > 1 {
			what = "nodes %s run another configuration than this one, %s"
		}
		warnings = append(warnings, fmt.Sprintf(what+": each event is decided by the node that receives it; give all the same Caddyfile and reload", strings.Join(differ, ", "), own))
	}
	if len(versions) > 1 {
		slices.Sort(versions)
		for i, version := range versions {
			versions[i] = strings.Join(byVersion[version], ", ") + ": " + version
		}
		warnings = append(warnings, "the nodes run different versions of the relay ("+strings.Join(versions, "; ")+"): bring all to the same")
	}
	if lives > 0 && delivers == 0 {
		warnings = append(warnings, "no node carries out deliveries: each that lives has deliver off, so that they wait; start one without it")
	}
	return warnings
}

// clockWarnings says whose clock is wrong. What all nodes agree on against the database is
// most likely right.
func clockWarnings(nodes []relay.Node) (warnings []string) {
	lives, wrong := 0, []relay.Node{}
	for _, node := range nodes {
		if node.Lives {
			lives++
			if node.Ahead != 0 {
				wrong = append(wrong, node)
			}
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	const alike = 10 // seconds
	least := slices.MinFunc(wrong, func(a, b relay.Node) int { return cmp.Compare(a.Ahead, b.Ahead) }).Ahead
	most := slices.MaxFunc(wrong, func(a, b relay.Node) int { return cmp.Compare(a.Ahead, b.Ahead) }).Ahead
	if lives > 1 && len(wrong) == lives && most-least <= alike {
		return []string{fmt.Sprintf("the clock of the database is %s: set it, best with NTP", relay.AheadOf(-time.Duration(least)*time.Second, "those of all nodes"))}
	}
	for _, node := range wrong {
		warnings = append(warnings, fmt.Sprintf("the clock of node %s is %s: set it, best with NTP; what it receives has a wrong time of receipt, and signatures with a time are refused there",
			node.Name, relay.AheadOf(time.Duration(node.Ahead)*time.Second, "that of the database")))
	}
	return warnings
}
