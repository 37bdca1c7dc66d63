// The actions: what they send, whether they can, and what waits for them.
import { el, fill, button, labelled, select } from "../dom.js";
import { icon } from "../icons.js";
import { get, post } from "../api.js";
import { shown, mono, long, visible } from "../shown.js";
import { parse, timeNode, relative, span } from "../times.js";
import { to, read, replace, eventAddress } from "../router.js";
import { plural } from "../words.js";
import { tryButton } from "../trying.js";
import { switchOff, switchOn, changed } from "../switching.js";
import { switchText } from "../banner.js";
import { confirmed, openDialog } from "../dialogs.js";
import { refresh } from "../status.js";
import { failed, toast } from "../toast.js";
import { code } from "../code.js";
import { planned } from "./event_why.js";
import { usesLine, usesText } from "./uses.js";
import { listPage, matches, nothing } from "./page.js";

export function open(container) {
	const opened = new Set(read().parts.slice(0, 1));
	const named = read().parts[0];
	let scrolled = false;
	const page = listPage(container, {
		title: "Actions", view: "actions", placeholder: "name, address, description, setting …",
		intro: "Templated requests to services on your network. They are written in the Caddyfile; here they are looked at, paused and resumed.",
		tools: [el("a.button", { href: to("import"), test: "open-import" }, icon("save"), "Import from Postman")],
		load: async () => ({ actions: await get("actions"), backlog: await get("backlog") }),
		draw: ({ actions, backlog }, words) => {
			const names = new Set(actions.map((action) => action.name));
			const gone = backlog.filter((line) => !names.has(line.action) && !line.carriers?.length);
			const found = actions.filter((action) => matches(words, action.name, action.description, action.method, action.url, action.place, action.settings, action.used_by));
			requestAnimationFrame(() => {
				if (scrolled || !named) return;
				scrolled = true;
				const node = container.querySelector(`[data-name="${CSS.escape(named)}"]`);
				node?.scrollIntoView({ block: "nearest" });
				node?.querySelector("summary")?.focus({ preventScroll: true });
			});
			return [
				gone.map((line) => goneAction(line, actions)),
				found.length ? el("section.panel", { "aria-label": "Configured actions" }, el("div.entries", found.map((action) => entry(action, opened))))
					: nothing(words, "action", [el("h2", "No action is configured"), el("p", "An action is written in the Caddyfile. Requests that you have in Postman can be imported.")]),
			];
		},
	});
	return { title: "Actions", close: page.close };
}

function entry(action, opened) {
	const body = el("div.entry-body");
	const details = el("details.entry", { open: opened.has(action.name), test: "action", "data-name": action.name, ontoggle: () => {
		if (details.open) {
			opened.add(action.name);
			if (!body.childNodes.length) fill(body, entryBody(action));
			if (read().view === "actions") replace(to("actions", action.name, { q: read().query.q }));
		} else opened.delete(action.name);
	} },
	el("summary",
		el("span.entry-name", shown(action.name, 100)), stateMarks(action),
		el("span.entry-text", action.description ? shown(action.description, 160) : null),
		usesLine(action.used),
		el("span.entry-side", backlogWords(action.backlog))),
	body);
	if (details.open) fill(body, entryBody(action));
	return details;
}

function stateMarks(action) {
	return el("span.marks",
		action.switch ? el("span.mark.tone-warn", icon("pause"), "paused") : null,
		action.down ? el("span.mark.tone-bad", icon("unlink"), "target down") : null,
		!action.used_by?.length ? el("span.mark.tone-quiet", icon("dash"), "unused") : null,
		!action.switch && !action.down && action.used_by?.length ? el("span.mark.tone-good", icon("check"), "ready") : null);
}

function backlogWords(backlog) {
	if (!backlog?.count) return null;
	const oldest = parse(backlog.oldest);
	return [icon("clock"), ` ${backlog.count.toLocaleString("en")} waiting`, oldest ? `, oldest ${span((Date.now() - oldest) / 1000)}` : ""];
}

function entryBody(action) {
	// Query, headers and body with their templates.
	const text = el("div", el("p.muted", "Reading …"));
	get(`actions/${encodeURIComponent(action.name)}/caddyfile`).then((written) => fill(text,
		code(written.caddyfile, { title: "As a Caddyfile says it", test: "action-caddyfile" }),
		written.lacking ? el("p.note", "A Caddyfile cannot say all of it: ", long(written.lacking, 400)) : null), (error) => fill(text, el("p.problem", error.message)));
	const example = el("div");
	const showExample = button("Show a rendered example", async () => {
		try {
			const made = await get(`actions/${encodeURIComponent(action.name)}/example`);
			fill(example, el("p.note", made.event_id ? ["Rendered for the stored event ", el("a", { href: eventAddress(made.event_id) }, mono(made.event_id)), "."] : "Rendered for an event that was made up: none is stored that this action is for.", " Nothing was sent."), planned({ action: action.name, ...made }));
			showExample.remove();
		} catch (error) {
			failed(error);
		}
	}, { test: "action-example" });
	return [
		action.switch ? el("p.problem.is-warn", switchText(action.switch), " Its deliveries gather and are sent when it is resumed.") : null,
		action.down ? el("p.problem", "The target ", mono(action.down.target), " is down since ", timeNode(action.down.since), ": ", long(action.down.error, 300), ". One delivery at a time tries it; the others wait and lose nothing. ", tryButton({ target: action.down.target }, { of: visible(action.down.target) })) : null,
		el("div.tools",
			action.switch ? button([icon("play"), "Resume"], () => switchOn("action", action.name), { class: "primary", test: "action-resume" })
				: button([icon("pause"), "Pause …"], () => switchOff("action", action.name), { test: "action-pause" }),
			el("a.button", { href: to("activity", [], { action: action.name }) }, "Its activity"),
			el("a.button", { href: to("activity", [], { action: action.name, state: "failed" }) }, "Failed"),
			showExample),
		el("p.request-line", mono(action.method, 12), " ", mono(action.url, 400)),
		el("dl.values",
			action.place ? [el("dt", "Written in"), el("dd", mono(action.place, 200))] : null,
			el("dt", "Calls"), el("dd", (action.targets ?? []).map((target) => el("div", mono(target, 200)))),
			el("dt", "Used by"), el("dd", action.used_by?.length ? action.used_by.map((place) => el("div", mono(place, 200))) : "no rule"),
			action.used ? [el("dt", "Deliveries"), el("dd", { test: "action-uses" }, usesText(action.used, "made"), " ", endsText(action.ended))] : null,
			(action.settings ?? []).map(([name, value]) => [el("dt", mono(name, 80)), el("dd", mono(value, 200))])),
		text,
		example,
	];
}

// endsText says how the deliveries of an action ended.
function endsText(ended) {
	const said = [["delivered", ended?.delivered], ["failed", ended?.failed], ["expired", ended?.expired]].filter(([, count]) => count);
	return said.length ? `${said.map(([how, count]) => `${count.toLocaleString("en")} ${how}`).join(", ")}.` : null;
}

// goneAction is one that the configuration does not have any more while
// deliveries of it wait.
function goneAction(line, actions) {
	return el("section.panel.edge-bad", { test: "unknown-action", "data-name": line.action },
		el("h2", icon("warning"), " ", shown(line.action, 100), " is not configured any more"),
		el("p", `${plural(line.count, "delivery waits", "deliveries wait")} for it, the oldest since `, timeNode(line.oldest, relative), ". They stay until the action comes back, they are handed to another action, or they are cancelled."),
		el("div.tools",
			button("Hand to another action …", () => move(line, actions), { class: "primary", test: "move-backlog" }),
			button("Cancel them …", () => cancel(line), { class: "danger", test: "cancel-backlog" }),
			el("a.button", { href: to("activity", [], { action: line.action, state: "pending" }) }, "Show them")));
}

async function cancel(line) {
	if (!await confirmed(`Cancel what waits for ${visible(line.action)}?`, `${plural(line.count, "delivery", "deliveries")} will not be sent any more.`, "Cancel them", { danger: true })) return;
	await does("cancel", { action: line.action }, "cancelled");
}

function move(line, actions) {
	const target = select(actions.map((action) => action.name), actions[0]?.name, { test: "move-to" });
	openDialog(`Hand over what waits for ${visible(line.action)}`, (close) => el("form", { onsubmit: async (event) => {
		event.preventDefault();
		close();
		await does("move", { from: line.action, to: target.value }, "handed over");
	} },
	el("p", `${plural(line.count, "delivery", "deliveries")} will be carried out by another action, with its request and settings.`),
	labelled("Action", target),
	el("div.actions", button("Cancel", close), el("button.primary", { type: "submit", test: "move-confirm" }, "Hand over"))));
}

async function does(call, body, done) {
	try {
		const { deliveries } = await post(call, body);
		toast(`${plural(deliveries, "delivery", "deliveries")} ${done}.`);
		await refresh();
		changed.dispatchEvent(new Event("change"));
	} catch (error) {
		failed(error);
	}
}

