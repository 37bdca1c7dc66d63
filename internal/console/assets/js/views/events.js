// The catalogue: which events each source is known to send, what is done about
// them, and which fields they had.
import { el, fill, button, table } from "../dom.js";
import { icon } from "../icons.js";
import { get } from "../api.js";
import { shown, mono, long } from "../shown.js";
import { tag } from "../copy.js";
import { timeNode } from "../times.js";
import { to, read, replace } from "../router.js";
import { plural } from "../words.js";
import { switchOff, switchOn } from "../switching.js";
import { switchText } from "../banner.js";
import { usesLine, usesText, idleMark, idleText } from "./uses.js";
import { listPage, matches, nothing } from "./page.js";

export function open(container) {
	const opened = new Set();
	const named = read().parts;
	if (named.length === 2) opened.add(named.join(":"));
	let scrolled = false;
	const page = listPage(container, {
		title: "Events", view: "events", placeholder: "source, event, action, description …",
		intro: "What the sources are known to send, and what is done about it. Rules are in the Caddyfile; here they can be looked at, switched off and tried.",
		tools: [el("a.button", { href: to("send"), test: "open-send" }, icon("flask"), "Send a test event")],
		load: () => get("catalogue"),
		draw: (sources, words) => {
			const drawn = sources.map((source) => [source, source.events.filter((event) => matches(words, source.source, event.name, event.description, event.rules?.map((rule) => [rule.place, rule.description, rule.do ?? [], rule.when ?? []])))]).filter(([, events]) => events.length);
			if (!drawn.length) return nothing(words, "event", [el("h2", "No source is configured"), el("p", "Add a source to the event_relay option of your Caddyfile.")]);
			requestAnimationFrame(() => {
				if (scrolled || named.length !== 2) return;
				scrolled = true;
				const node = container.querySelector(`[data-name="${CSS.escape(named.join(":"))}"]`);
				node?.scrollIntoView({ block: "nearest" });
				node?.querySelector("summary")?.focus({ preventScroll: true });
			});
			return drawn.map(([source, events]) => sourceSection(source, events, opened, words.length > 0));
		},
	});
	return { title: "Events", close: page.close };
}

function sourceSection(source, events, opened, searched) {
	const acted = source.events.filter((event) => event.rules?.length).length;
	// What has a rule comes first; the rest is mostly long, and opens when it is
	// looked for.
	const said = events.filter((event) => event.rules?.length || event.switch);
	const unsaid = events.filter((event) => !said.includes(event));
	const rank = (event) => (event.switch ? 0 : event.active ? 1 : 2);
	const list = (some) => el("div.entries", some.map((event) => entry(source, event, opened)));
	return el("section.panel", { test: "source", "data-name": source.source },
		el("div.panel-head", el("h2", shown(source.source, 80)),
			el("p.muted", source.preset && source.preset !== source.source ? ["preset ", mono(source.preset), " · "] : null, source.place ? [mono(source.place, 120), " · "] : null, `${plural(source.events.length, "event")}, ${acted} with rules`)),
		said.length ? list(said.sort((a, b) => rank(a) - rank(b))) : null,
		unsaid.length ? el("details.unruled", { open: searched || !said.length || unsaid.length < 6 || unsaid.some((event) => opened.has(`${source.source}:${event.name}`)), test: "unruled" },
			el("summary", `${plural(unsaid.length, said.length ? "other event" : "event")} without a rule`), list(unsaid)) : null);
}

function entry(source, event, opened) {
	const key = `${source.source}:${event.name}`;
	const actions = [...new Set((event.rules ?? []).filter((rule) => !rule.inactive).flatMap((rule) => rule.do ?? []))];
	const body = el("div.entry-body");
	const details = el("details.entry", { open: opened.has(key), test: "catalogue-event", "data-name": key, ontoggle: () => {
		if (details.open) {
			opened.add(key);
			if (!body.childNodes.length) fill(body, entryBody(source, event));
			if (read().view === "events") replace(to("events", [source.source, event.name], { q: read().query.q }));
		} else opened.delete(key);
	} },
	el("summary",
		el("span.entry-name", shown(event.name, 100)),
		stateMark(event),
		el("span.entry-text", event.description ? shown(event.description, 160) : null),
		event.rules?.some((rule) => rule.idle) ? el("span.mark.tone-warn", icon("clock"), "rule never held") : null,
		event.used?.count || event.rules?.length ? usesLine(event.used) : null,
		el("span.entry-side", actions.length ? ["→ ", actions.slice(0, 3).map((name, i) => [i ? ", " : "", shown(name, 60)]), actions.length > 3 ? ` and ${actions.length - 3} more` : null] : null)),
	body);
	if (details.open) fill(body, entryBody(source, event));
	return details;
}

function stateMark(event) {
	if (event.switch) return el("span.mark.tone-warn", icon("power"), "switched off");
	if (event.active) return el("span.mark.tone-good", icon("check"), "active");
	if (event.rules?.some((rule) => !rule.inactive)) return el("span.mark.tone-quiet", icon("dash"), "ignored by rule");
	if (event.rules?.length) return el("span.mark.tone-warn", icon("power"), "rules inactive");
	return el("span.mark.tone-quiet", icon("dash"), "no rule");
}

function entryBody(source, event) {
	const name = `${source.source}:${event.name}`;
	const fields = el("div", { "aria-live": "polite" }, el("p.muted", "Looking at stored events …"));
	loadFields(fields, source.source, event.name);
	return [
		event.switch ? el("p.problem", switchText(event.switch)) : null,
		event.used ? el("p.note", { test: "event-uses" }, usesText(event.used, "came"), " Tests and duplicates are not counted.") : null,
		el("div.tools",
			event.switch ? button([icon("play"), "Switch on"], () => switchOn("event", name), { class: "primary", test: "event-on" })
				: button([icon("power"), "Switch off …"], () => switchOff("event", name), { test: "event-off" }),
			el("a.button", { href: to("send", [], { source: source.source, event: event.name }), test: "event-send" }, icon("flask"), "Send a test event"),
			el("a.button", { href: to("activity", [], { source: source.source, event: event.name }) }, "Its activity")),
		el("h3", "Rules"),
		event.rules?.length ? el("ol.rules", event.rules.map((rule) => ruleItem(rule, source.source, event.name))) : el("p", "No rule names it, so it is stored and ignored. To act on it, add to the Caddyfile:",
			el("code.block", `on ${event.name} {\n\tdo ACTION\n}`)),
		el("h3", "Fields seen"), fields,
	];
}

function ruleItem(rule, source, event) {
	return el(`li.rule.edge-${rule.inactive ? "warn" : "quiet"}`,
		el("div.rule-head", mono(rule.place, 120), rule.description ? shown(rule.description, 200) : null, rule.inactive ? el("span.mark.tone-warn", icon("power"), "inactive (active off)") : null, idleMark(rule)),
		rule.when?.length ? el("ul.conditions", rule.when.map((condition) => el("li", "when ", el("code", { dir: "auto" }, long(condition, 400))))) : el("p.muted", "always"),
		el("p.leads", rule.ignore ? ["ignore", rule.reason ? [": ", shown(rule.reason, 200)] : null] : ["do ", (rule.do ?? []).map((action, i) => [i ? ", " : "", el("a", { href: to("actions", action) }, shown(action, 80))])]),
		rule.used ? el("p.note", { test: "rule-uses" }, usesText(rule.used, "held"), " ", idleText(rule)) : null,
		el("p.tools", el("a", { href: to("rehearse", [], { rule: rule.place, source, event }), test: "rehearse-rule" }, "Rehearse a change of this rule")));
}

async function loadFields(node, source, event) {
	try {
		const seen = await get("fields", { source, event });
		if (!seen.fields?.length) {
			fill(node, el("p.muted", "No stored event of this name has fields yet. Send a test event, or wait for the first."));
			return;
		}
		fill(node, el("p.note", `In the newest ${plural(seen.events, "event")}, the last of them `, timeNode(seen.newest), ". A click copies the tag for a template."),
			table(`Fields seen in ${event}`, ["Tag", "Types", "Example", "Seen in"], seen.fields.map((field) => el("tr", { test: "field-seen" },
				el("td", tag(field.path)), el("td", (field.types ?? []).join(", ")), el("td", mono(field.example, 120)),
				el("td", field.seen >= seen.events ? "all" : `${field.seen} of ${seen.events}`)))));
	} catch (error) {
		fill(node, el("p.problem", error.message));
	}
}
