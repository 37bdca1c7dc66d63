// One configuration that was loaded: what changed, and all of it.
import { el, fill } from "../dom.js";
import { icon } from "../icons.js";
import { get } from "../api.js";
import { code } from "../code.js";
import { nodes, mono, shown } from "../shown.js";
import { timeNode, medium } from "../times.js";
import { to } from "../router.js";
import { plural } from "../words.js";

export function open(container, route) {
	const heading = el("h1", { tabindex: "-1" }, "Configuration");
	const body = el("div", el("p.muted", "Reading …"));
	fill(container, el("nav.walk", { "aria-label": "Back" }, el("a.back", { href: to("settings") }, icon("left"), "Settings")), el("div.view-head", heading), body);
	(async () => {
		try {
			const snapshot = await get(`snapshots/${encodeURIComponent(route.parts[0] ?? "")}`);
			fill(heading, "Configuration of ", timeNode(snapshot.loaded, medium));
			fill(body, el("p.note", "Digest ", mono(snapshot.digest), snapshot.node ? [", loaded by ", shown(snapshot.node, 60)] : null, ". Secrets are not in it."),
				el("section.panel", { test: "changes" }, el("h2", "What changed"), snapshot.changes ? difference(snapshot.changes)
					: el("p.muted", snapshot.moved ? "Nothing but the places of lines in the Caddyfile." : "Nothing is known of one before it, or nothing changed.")),
				el("section.panel", { test: "configuration" }, el("h2", "All of it"),
					snapshot.caddyfile ? code(snapshot.caddyfile, { title: "Caddyfile" }) : null,
					snapshot.caddyfile ? el("details.planned", el("summary", "As JSON"), code(snapshot.text, { title: "JSON" })) : code(snapshot.text, { title: "JSON" })));
		} catch (error) {
			fill(body, el("p.problem", { role: "alert" }, error.message));
		}
	})();
	return { title: "Configuration" };
}

// difference shows a unified diff with a word for each line that was added or
// removed.
function difference(text) {
	const lines = text.split("\n").filter((line, i, all) => i < all.length - 1 || line !== "").filter((line) => !/^(---|\+\+\+) /.test(line));
	const added = lines.filter((line) => line.startsWith("+")).length;
	const removed = lines.filter((line) => line.startsWith("-")).length;
	return [el("p", `${plural(added, "line")} added, ${plural(removed, "line")} removed.`),
		el("div.scroll", { tabindex: "0", role: "group", "aria-label": "What changed" }, el("table.diff", el("caption.sr-only", "Lines that were added and removed"),
			el("thead.sr-only", el("tr", el("th", { scope: "col" }, "Change"), el("th", { scope: "col" }, "Line"))),
			el("tbody", lines.slice(0, 4000).map((line) => {
				const kind = line[0] === "+" ? "added" : line[0] === "-" ? "removed" : line.startsWith("@@") ? "place" : "same";
				const word = { added: "+ added", removed: "− removed", place: "…", same: "" }[kind];
				return el(`tr.is-${kind}`, el("td.what", word), el("td", el("code", { dir: "auto" }, nodes(kind === "place" ? line : line.slice(1)))));
			})))),
		lines.length > 4000 ? el("p.note", "The first 4,000 lines.") : null];
}
