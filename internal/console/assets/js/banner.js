// What stands over every view while something is switched off, down or out of
// reach, so that no pause is forgotten.
import { el, fill, button } from "./dom.js";
import { icon } from "./icons.js";
import { shown } from "./shown.js";
import { parse, timeNode, relative, zoneHint } from "./times.js";
import { to } from "./router.js";
import { onStatus } from "./status.js";
import { plural } from "./words.js";
import { switchOn } from "./switching.js";

const most = 3;

export function showBanner(node) {
	let before = "";
	onStatus((status, reached, problem) => {
		const lines = linesOf(status, reached, problem);
		// Drawn again only when it says something else: a reader's focus may be
		// on one of its buttons.
		const now = lines.map((line) => line.key).join("\n");
		if (now === before) return;
		before = now;
		node.hidden = lines.length === 0;
		fill(node, el("ul.banner-lines", lines.slice(0, most).map((line) => el(`li.tone-${line.tone}`,
			icon(line.icon), el("span.banner-text", line.text), line.tool))),
		lines.length > most ? el("a.banner-more", { href: to("settings") }, `and ${lines.length - most} more in Settings`) : null);
	});
}

function linesOf(status, reached, problem) {
	const lines = [];
	if (!reached) {
		lines.push({ key: "reach", tone: "bad", icon: "unlink", text: "The relay cannot be reached. What you see is from before; this page tries again by itself." });
	}
	if (problem && reached) {
		lines.push({ key: problem, tone: "bad", icon: "warning", text: ["The relay's status cannot be read: ", shown(problem, 200)] });
	}
	if (!status) return lines;
	if (status.off) {
		lines.push({ key: "off", tone: "warn", icon: "power", text: "The configuration has the relay switched off (active off): events are stored, nothing is done about them." });
	}
	for (const off of status.switches ?? []) {
		lines.push({
			key: JSON.stringify(off), tone: "warn", icon: off.kind === "action" ? "pause" : "power",
			text: switchText(off),
			tool: button(off.kind === "action" ? "Resume" : "Turn on", () => switchOn(off.kind, off.name), { class: "small", test: "banner-on" }),
		});
	}
	for (const trouble of status.troubles ?? []) {
		lines.push({
			key: `trouble ${trouble.kind} ${trouble.message}`, tone: trouble.refusing ? "bad" : "warn", icon: "warning",
			text: [el("strong", trouble.refusing ? "Events are refused with status 503" : "The queue"), " since ", timeNode(trouble.since), ": ", shown(trouble.message, 400), "."],
		});
	}
	const refused = status.refused ?? [];
	if (refused.length) {
		const one = refused[0];
		const count = refused.reduce((sum, line) => sum + line.recent, 0);
		lines.push({
			key: `refused ${count} ${one.last} ${one.address}`, tone: "bad", icon: "barred",
			text: [el("strong", plural(count, "request")), ` that most likely came from ${count === 1 ? "a sender was" : "senders were"} refused in the last hour, the last `, timeNode(one.last, relative), " from ",
				shown(one.address, 60), one.request ? [" (", shown(one.request, 120), ")"] : null, ": ", shown(one.reason, 200), ". ", el("a", { href: to("rejections") }, "All rejections")],
		});
	}
	for (const down of status.down ?? []) {
		lines.push({
			key: `down ${down.target} ${down.action}`, tone: "bad", icon: "unlink",
			text: [el("strong", "Target down: "), shown(down.target, 80), " since ", timeNode(down.since), ": ", shown(down.error, 120),
				". Deliveries of ", el("a", { href: to("actions", down.action) }, shown(down.action, 60)), " wait."],
		});
	}
	for (const quiet of status.quiet ?? []) {
		lines.push({
			key: `quiet ${quiet.source}`, tone: "warn", icon: "quiet",
			text: [el("strong", "Quiet source: "), shown(quiet.source, 60), parse(quiet.last) ? [": its last event came ", timeNode(quiet.last, relative)] : " has sent no event yet", "."],
		});
	}
	const hint = zoneHint(status);
	if (hint) lines.push({ key: hint, tone: "quiet", icon: "clock", text: hint });
	return lines;
}

// switchText says what is off, since when, until when and why.
export function switchText(off) {
	const what = {
		all: [el("strong", "Everything is switched off"), ": events are stored, nothing is done"],
		event: [el("strong", "Event switched off: "), shown(off.name, 80)],
		action: [el("strong", "Action paused: "), shown(off.name, 80)],
	}[off.kind] ?? [shown(off.kind), " ", shown(off.name)];
	return [what, " since ", timeNode(off.since), parse(off.until) ? [", until ", timeNode(off.until)] : ", until it is turned on by hand",
		off.reason ? [". Reason: ", shown(off.reason, 160)] : ". No reason was given", "."];
}
