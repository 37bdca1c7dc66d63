// The switches, the queue, the configurations that were loaded, and the version.
import { el, fill, button } from "../dom.js";
import { icon } from "../icons.js";
import { get, address } from "../api.js";
import { shown, mono, long, visible } from "../shown.js";
import { parse, timeNode, medium, relative, span } from "../times.js";
import { to } from "../router.js";
import { bytes, plural } from "../words.js";
import { onStatus } from "../status.js";
import { switchOff, switchOn } from "../switching.js";
import { tryButton } from "../trying.js";
import { switchText } from "../banner.js";

export function open(container) {
	const switches = el("div");
	const health = el("div");
	const queue = el("div");
	const copies = el("div");
	let copied;
	const about = el("div");
	const nodes = el("div");
	const snapshots = el("div", el("p.muted", "Reading …"));
	const checked = el("div", { role: "status" });
	const section = (title, test, ...children) => el("section.panel", { test }, el("h2", title), children);
	// Only a queue that several machines share has them.
	const shared = section("Nodes", "nodes", nodes, el("p.note", "The machines that share the queue. What is down, quiet or refused is shown as this one sees it."));
	shared.hidden = true;
	fill(container,
		el("div.view-head", el("h1", { tabindex: "-1" }, "Settings")),
		el("p.intro", "What can be changed while the relay runs. Everything else is in the Caddyfile."),
		el("div.columns",
			el("div.column",
				section("Switches", "switches", switches),
				section("Health", "health", health, el("div.tools", button("Check the database and the configuration", check, { test: "check" })), checked),
				section("Queue", "queue", queue, copies)),
			el("div.column",
				shared,
				section("Configurations that were loaded", "snapshots", snapshots),
				section("About", "about", about))));

	const end = onStatus((status) => {
		if (!status) return;
		const off = status.switches ?? [];
		const everything = off.find((one) => one.kind === "all");
		fill(switches,
			el("div.switch-line", el("p", everything ? [icon("power"), " ", switchText(everything)] : status.off ? [icon("power"), " The configuration says ", el("code", "active off"), ": nothing is done about events."] : off.length || status.inactive?.length ? [icon("warning"), " Not everything is on:"] : [icon("check"), " Everything is on."]),
				everything ? button([icon("play"), "Turn everything on"], () => switchOn("all"), { class: "primary", test: "all-on" })
					: button([icon("power"), "Switch everything off …"], () => switchOff("all"), { class: "danger", test: "all-off" })),
			off.filter((one) => one.kind !== "all").map((one) => el("div.switch-line", { test: "switch" }, el("p", icon(one.kind === "action" ? "pause" : "power"), " ", switchText(one)),
				button(one.kind === "action" ? "Resume" : "Turn on", () => switchOn(one.kind, one.name), { class: "small" }))),
			status.inactive?.length ? el("div.switch-line", { test: "inactive" }, el("p", icon("power"), ` ${plural(status.inactive.length, "rule is", "rules are")} off by the configuration (`, el("code", "active off"), "): ", status.inactive.slice(0, 8).map((place, i) => [i ? ", " : "", mono(place, 120)]), status.inactive.length > 8 ? " and more" : null, ".")) : null,
			el("p.note", "Single events are switched under ", el("a", { href: to("events") }, "Events"), ", actions paused under ", el("a", { href: to("actions") }, "Actions"), "."));
		const down = status.down ?? [];
		const quiet = status.quiet ?? [];
		fill(health, el("ul.health",
			(status.warnings ?? []).map((text) => el("li.tone-bad", icon("warning"), el("span", long(text, 600)))),
			down.map((one) => el("li.tone-bad", icon("unlink"), el("span", "Target ", mono(one.target, 100), " down since ", timeNode(one.since), " (", el("a", { href: to("actions", one.action) }, shown(one.action, 60)), "): ", long(one.error, 240), " ", tryButton({ target: one.target }, { of: visible(one.target) })))),
			quiet.map((one) => el("li.tone-warn", icon("quiet"), el("span", "Source ", shown(one.source, 60), parse(one.last) ? [" silent since ", timeNode(one.last), " (", timeNode(one.last, relative), ")"] : " has sent no event yet"))),
			!down.length ? el("li.tone-good", icon("check"), el("span", "No target is down.")) : null,
			!quiet.length ? el("li.tone-good", icon("check"), el("span", "No source has been silent for longer than its setting quiet says.")) : null));
		shared.hidden = !status.nodes?.length;
		fill(nodes, el("ul.health", (status.nodes ?? []).map(nodeLine)));
		const waiting = status.backlog ?? [];
		const total = waiting.reduce((sum, line) => sum + line.count, 0);
		fill(queue, el("dl.values",
			status.queue?.server ? onServer(status.queue) : inDirectory(status.queue, status.min_free),
			el("dt", "Waiting"), el("dd", el("span", `${plural(total, "delivery", "deliveries")} of at most ${(status.max_pending ?? 0).toLocaleString("en")}`)),
			el("dt", "History kept"), el("dd", status.retention_seconds ? span(status.retention_seconds) : "for ever", status.retention_bytes ? ` or ${bytes(status.retention_bytes)}` : null)),
		waiting.length ? el("ul.counts", waiting.map((line) => el("li", el("strong", line.count.toLocaleString("en")), " × ", el("a", { href: to("actions", line.action) }, shown(line.action, 80)), ", oldest ", timeNode(line.oldest, relative), line.paused ? ", paused" : null, line.unknown ? el("span.tone-bad", ", not configured any more") : null, line.carriers?.length ? [", carried out by ", shown(line.carriers.join(", "), 120)] : null))) : null);
		// A button that is drawn anew loses the focus: only what changes is.
		const backup = status.queue?.server?.backup ?? "";
		if (backup !== copied) fill(copies, backup ? copyOfServer(status.queue.server) : copyOfDirectory());
		copied = backup;
		fill(about, el("dl.values",
			el("dt", "Time zone"), el("dd", shown(status.timezone, 60), status.timezone_doubt ? [": ", shown(status.timezone_doubt, 300)] : null),
			el("dt", "Version"), el("dd", status.version ? mono(status.version) : "a build without a version"),
			el("dt", "Started"), el("dd", timeNode(status.started, medium), parse(status.started) ? el("span.muted", " (", timeNode(status.started, relative), ")") : null),
			el("dt", "Configuration loaded"), el("dd", timeNode(status.loaded, medium), status.configuration ? [" ", mono(status.configuration.slice(0, 12))] : null),
			el("dt", "Charts"), el("dd", "drawn with uPlot 1.6.32 (MIT licence)")));
	});

	async function check() {
		fill(checked, el("p.muted", "Checking …"));
		try {
			const found = await get("check");
			const list = (title, items, none) => items?.length ? [el("h3", title), el("ul.notes", items.map((text) => el("li.tone-warn", icon("warning"), " ", long(text, 500))))] : el("p.tone-good", icon("check"), ` ${none}`);
			fill(checked, list("Faults of the database", found.database, "The database is sound."), list("Warnings about the configuration", found.warnings, "No problems found."));
		} catch (error) {
			fill(checked, el("p.problem", error.message));
		}
	}

	(async () => {
		try {
			const list = await get("snapshots");
			// The newest of each node is in force there.
			const newest = (one, i) => list.findIndex((other) => other.node === one.node) === i;
			fill(snapshots, el("p.note", list.some((one) => one.node) ? "Without secrets. The newest of a node is in force there." : "Without secrets. The newest is in force."), list.length ? el("ol.snapshots", list.map((one, i) => el("li", { test: "snapshot" },
				el("a", { href: to("snapshot", String(one.id)) }, timeNode(one.loaded, medium)), " ", mono((one.digest ?? "").slice(0, 12)), one.node ? el("span.muted", shown(one.node, 60)) : null, newest(one, i) ? el("span.mark.tone-good", icon("check"), "in force") : null))) : el("p.muted", "None is kept yet."));
		} catch (error) {
			fill(snapshots, el("p.problem", error.message));
		}
	})();

	return { title: "Settings", close: end };
}

// inDirectory says what a queue in files of its own takes.
function inDirectory(queue, least) {
	return [
		el("dt", "Directory"), el("dd", mono(queue?.directory, 300)),
		el("dt", "Size"), el("dd", bytes(queue?.bytes)),
		el("dt", "Free on its disk"), el("dd", bytes(queue?.free), queue?.free >= 0 && queue.free < 2 * least ? el("span.tone-warn", icon("warning"), " nearly full") : null, el("span.muted", ` (nothing is taken below ${bytes(least)})`))];
}

// onServer says where a queue in a database server is, what it takes, and what an
// answer of 200 is worth there. A server without a version cannot be reached.
function onServer({ server, bytes: size }) {
	return [
		el("dt", "Server"), el("dd", mono(server.host, 300), server.version ? [" ", shown(server.version, 80)] : null),
		el("dt", "Database"), el("dd", mono(server.database, 120), ", schema ", mono(server.schema, 120)),
		server.version ? [
			el("dt", "Size"), el("dd", bytes(size)),
			el("dt", "Answered 200"), el("dd", { test: "standbys" }, server.synchronous_standbys
				? [icon("check"), " on a synchronous standby too: ", mono(server.synchronous_standbys, 200)]
				: "on this server alone: there is no synchronous standby")] : null,
		server.oldest_transaction ? [
			el("dt", "Long open"), el("dd", { test: "oldest" }, el("span.tone-warn", icon("warning"), " a transaction, since ", timeNode(server.oldest_transaction.since)),
				" (", shown(server.oldest_transaction.by, 120), "): until it ends, what is done cannot be cleared away, and the queue gets slower")] : null];
}

function copyOfDirectory() {
	return [
		el("div.tools", el("a.button", { href: address("backup"), download: "event-relay-backup.db", test: "backup" }, icon("save"), "Download a backup")),
		el("p.note", "A consistent copy of the queue and the history; nothing stops for it. It is put back with ", el("code", "caddy event-relay restore"), ".")];
}

function copyOfServer(server) {
	return el("p.note", { test: "backup-command" }, "Back it up with ", mono(server.backup, 300), ", and put the copy back with ", mono(server.restore, 300), ".");
}

// nodeLine says what a machine that shares the queue is and runs.
function nodeLine(node) {
	const name = [el("strong", shown(node.name, 80)), node.self ? " (this one)" : null];
	if (node.closed) return el("li", { test: "node" }, icon("dash"), el("span", name, " ended ", timeNode(node.seen), "."));
	if (node.vanished) return el("li.tone-bad", { test: "node" }, icon("unlink"), el("span", name, " vanished: its last sign of life was ", timeNode(node.seen, relative), ", ", timeNode(node.seen), "."));
	const ahead = node.ahead_seconds ?? 0;
	const warns = node.differs || ahead !== 0;
	return el(warns ? "li.tone-warn" : "li.tone-good", { test: "node" }, icon(warns ? "warning" : "check"), el("span", name, ": ",
		node.version ? mono(node.version, 40) : "a build without a version", ", ", node.differs ? "another configuration, " : "configuration ", mono((node.configuration || "not known").slice(0, 12)),
		node.delivers ? null : ", only receives",
		ahead === 0 ? null : `, its clock is ${span(Math.abs(ahead))} ${ahead < 0 ? "behind" : "ahead of"} that of the database`, ", running since ", timeNode(node.started), ", last sign of life ", timeNode(node.seen, relative), "."));
}
