// The activity: what came, newest first, live.
import { el, fill, button } from "../dom.js";
import { icon } from "../icons.js";
import { get } from "../api.js";
import { live } from "../live.js";
import { announce } from "../announce.js";
import { code } from "../code.js";
import { onStatus } from "../status.js";
import { parse, timeNode, date, span } from "../times.js";
import { read, to, replace, go } from "../router.js";
import { plural, standing } from "../words.js";
import { resend, decide } from "../again.js";
import { filterForm, pick, asked } from "./filters.js";
import { eventRow, dayRow } from "./rows.js";

const pageSize = 50;
// A live list must not grow for ever. What falls off its end is read again
// when the reader goes on that far.
const mostRows = 1000;

export function open(container) {
	const rows = new Map(); // by id
	const selected = new Set();
	const waiting = new Map(); // new events that are not shown yet
	let filters = {};
	let next = "";
	let trimmed = false;
	let stream = null;
	let request = null;
	let shownOnce = false;
	let looking = false;
	let missed = false;

	const form = filterForm((changed) => {
		replace(to("activity", [], changed));
		begin(changed);
	});
	form.suggest().catch(() => {});

	const heading = el("h1", { tabindex: "-1" }, "Activity");
	const liveWord = el("span.live-state", { role: "status", test: "live-state" });
	const liveButton = button("", () => {
		if (stream?.paused) stream.resume();
		else stream?.pause();
		drawLive(stream?.paused ? "paused" : "connecting");
	}, { class: "small", test: "live-toggle" });
	const summary = el("div.summary", { test: "last-hour" });
	const newer = button("", () => {
		showWaiting();
		window.scrollTo({ top: 0 });
		body.querySelector("a.event-link")?.focus({ preventScroll: true });
	}, { class: "newer", test: "new-events", hidden: true });
	const body = el("tbody", { role: "rowgroup" });
	const tickAll = el("input", { type: "checkbox", test: "select-all", onchange: () => {
		const on = tickAll.checked; // choosing changes it on the way
		for (const row of rows.values()) choose(row, on);
	} });
	const list = el("table.events", { role: "table", "aria-label": "Events, newest first", test: "activity-list" },
		el("thead", { role: "rowgroup" }, el("tr", { role: "row" },
			el("th.c-select", { role: "columnheader", scope: "col" }, el("label.tick", tickAll, el("span.tick-word", "Select all that are listed"))),
			["Time", "Event", "Verdict", "Deliveries"].map((word) => el("th", { role: "columnheader", scope: "col", class: `c-${word.toLowerCase()}` }, word)))),
		body);
	const end = el("div.list-end", { test: "list-end" });
	const problem = el("div", { role: "alert" });
	const picked = el("span", { role: "status" });
	const bar = el("div.selection", { role: "group", "aria-label": "What is selected", hidden: true, test: "selection" }, picked,
		button([icon("again"), "Send selected again"], () => resend({ ids: [...selected] }, { what: plural(selected.size, "event"), done: clearSelection }), { class: "primary", test: "resend-selected" }),
		button("Decide again", () => decide({ ids: [...selected] }, { what: plural(selected.size, "event"), done: clearSelection }), { test: "decide-selected" }),
		button("Clear", clearSelection, { test: "clear-selection" }));
	const allTools = el("div.all-tools",
		button([icon("again"), "Send all again …"], () => resend({ filter: asked(filters) }, { what: matchWords() }), { class: "small", test: "resend-all", title: "Send again all deliveries that the filters match" }),
		button("Decide all again …", () => decide({ filter: asked(filters) }, { what: matchWords() }), { class: "small", test: "decide-all", title: "Decide all events that the filters match by the present rules" }),
		button("Rehearse a change …", () => go(to("rehearse", [], filters)), { class: "small", test: "rehearse-all", title: "Try changed rules on the events that the filters match" }));

	fill(container,
		el("div.view-head", heading, el("div.live", liveWord, liveButton), summary),
		form.node, problem,
		el("div.list-tools", el("p.muted.zone", `Times: ${Intl.DateTimeFormat().resolvedOptions().timeZone ?? "local"}`), allTools),
		newer, bar, list, end);

	const endStatus = onStatus((now) => {
		drawSummary(now);
		// What keeps deliveries waiting changes without their events.
		for (const row of rows.values()) row.draw(row.event);
	});

	function matchWords() {
		const set = Object.entries(filters);
		return set.length ? `all that matches ${set.map(([key, value]) => `${key} ${value}`).join(", ")}` : "all stored events";
	}

	function drawLive(state) {
		const words = { live: ["dot", "live"], paused: ["pause", "paused"], reconnecting: ["unlink", "reconnecting …"], connecting: ["clock", "connecting …"], past: ["clock", "a time in the past"] };
		const [shape, word] = words[state];
		liveWord.className = `live-state is-${state}`;
		liveWord.dataset.state = state;
		fill(liveWord, icon(shape), el("span", word));
		liveButton.hidden = state === "past";
		fill(liveButton, icon(state === "paused" ? "play" : "pause"), state === "paused" ? "Follow" : "Pause");
	}

	function drawSummary(now) {
		if (!now) return;
		const hour = now.last_hour ?? {};
		const item = (word, n, query, tone) => el("li", el("a", { href: to("activity", [], { since: "1h", ...query }), class: n && tone ? `tone-${tone}` : null }, el("strong", (n ?? 0).toLocaleString("en")), ` ${word}`));
		const waitingCount = (now.backlog ?? []).reduce((sum, line) => sum + line.count, 0);
		const oldest = Math.min(...(now.backlog ?? []).map((line) => parse(line.oldest)?.getTime() ?? Infinity));
		fill(summary, el("span.muted", "Last hour: "), el("ul.inline",
			item("acted on", hour.action, { verdict: "action" }), item("ignored", hour.ignored, { verdict: "ignored" }),
			hour.rule_error ? item("rule errors", hour.rule_error, { verdict: "rule_error" }, "bad") : null,
			hour.disabled ? item("disabled", hour.disabled, { verdict: "disabled" }, "warn") : null,
			item("delivered", hour.delivered, { state: "delivered" }),
			item("failed", hour.failed, { state: "failed" }, "bad"),
			el("li", el("a", { href: to("activity", [], { state: "pending" }), class: waitingCount ? "tone-warn" : null }, el("strong", waitingCount.toLocaleString("en")), " waiting now",
				Number.isFinite(oldest) ? ` (oldest ${span((Date.now() - oldest) / 1000)})` : ""))));
	}

	// Reading.

	async function begin(nextFilters) {
		filters = pick(nextFilters);
		form.set(filters);
		clearList();
		stream?.close();
		stream = null;
		drawLive("connecting");
		const mine = filters;
		await more(true);
		// Others were set, or another view was opened, while it was read.
		if (mine !== filters || container.hidden) return;
		shownOnce = true;
		// Only now: when the stream opens, the list catches up with what came
		// meanwhile.
		follow();
	}

	function clearList() {
		rows.clear();
		waiting.clear();
		drawNewer();
		clearSelection();
		body.replaceChildren();
		next = "";
		trimmed = false;
	}

	// more reads the following page. A search may end a page early: then it says
	// how far it came, and is asked to go on.
	async function more(fresh = false) {
		request?.abort();
		const mine = request = new AbortController();
		fill(end, el("p.muted", { role: "status" }, "Reading …"));
		list.setAttribute("aria-busy", "true");
		const query = { ...asked(filters), n: pageSize };
		if (trimmed) {
			// The cursor of what fell off is not known: read from the time of the
			// last row on. Those that are listed already are left out below.
			const last = lastRow();
			query.until = new Date(parse(last.event.received).getTime() + 1).toISOString();
		} else query.after = next;
		try {
			const page = await get("activity", query, { signal: mine.signal });
			fill(problem);
			form.complain("");
			const before = rows.size;
			for (const event of page.events) place(event);
			next = page.next ?? "";
			trimmed = false;
			drawEnd(page);
			if (!fresh) announce(`${plural(rows.size - before, "event")} more`);
		} catch (error) {
			if (error.name === "AbortError") return;
			form.complain(error.field);
			fill(end);
			fill(problem, el("div.problem", el("p", error.message), button("Try again", () => more(fresh), { class: "small" })));
		} finally {
			if (mine === request) list.removeAttribute("aria-busy");
		}
	}

	function drawEnd(page) {
		list.hidden = rows.size === 0;
		allTools.hidden = rows.size === 0;
		if (next) {
			const go = button(page.early ? "Continue the search" : "Load more", () => more(), { class: "more", test: "load-more" });
			fill(end, page.early ? el("p", { test: "searched-to" }, rows.size ? "" : "Nothing found yet. ", "Searched back to ", timeNode(page.reached), ".") : null, go);
		} else if (rows.size === 0) fill(end, emptyState());
		else fill(end, el("p.muted", `${plural(rows.size, "event")}. That is all that is stored${Object.keys(filters).length ? " and matches" : ""}.`));
	}

	// What to do when there is nothing: where to send the first event, and where
	// to look when one did not arrive.
	function emptyState() {
		if (Object.keys(filters).length) {
			return el("div.empty", { test: "empty" }, el("h2", "No event matches these filters"),
				el("p", "Remove a filter above, or choose a longer time. An event that its sender sent and that is not here may have been refused: see ", el("a", { href: to("rejections") }, "Rejections"), "."),
				button("Clear all filters", () => {
					replace(to("activity"));
					begin({});
				}, { class: "primary" }));
		}
		const first = el("li", "Send one as a sender would, to the address and with the credential that your Caddyfile has.");
		get("catalogue").then((sources) => {
			const source = sources.find((one) => one.try);
			if (!source) return;
			first.replaceChildren(`Send one as ${source.source} would. Put the source's credential in place of YOUR-SECRET:`,
				code(source.try, { title: "The command to try", test: "curl" }));
		}).catch(() => {}); // the banner says that the relay cannot be reached
		return el("div.empty", { test: "empty" }, el("h2", "No event has arrived yet"),
			el("ol",
				first,
				el("li", "Or make one up here: ", el("a", { href: to("send") }, "Send a test event"), ". It takes the same way and is marked as a test."),
				el("li", "If the sender was answered 401 or 403, ", el("a", { href: to("rejections") }, "Rejections"), " says why. If it was answered nothing, the request never came here: look at the firewall and at the address."),
				el("li", el("code", "caddy event-relay setup SOURCE"), " writes what the other side has to enter.")));
	}

	// Rows.

	// Rows stand in the order of receipt; ids are in the order of their making.
	const older = (a, b) => (parse(a.received) - parse(b.received) || (a.id < b.id ? -1 : 1)) < 0;
	const nodes = () => [...body.querySelectorAll("tr.event")];
	const lastRow = () => rows.get(nodes().at(-1)?.dataset.id);

	// place puts an event where it belongs: mostly at one of the ends.
	function place(event, fresh) {
		const known = rows.get(event.id);
		if (known) {
			known.draw(event);
			return;
		}
		const row = eventRow(event, { onSelect: choose });
		const last = lastRow();
		const after = last && older(last.event, event) ? nodes().find((node) => older(rows.get(node.dataset.id).event, event)) : null;
		rows.set(event.id, row);
		const day = date(parse(event.received) ?? new Date(0));
		const dayOf = (node) => node && date(parse(rows.get(node.dataset.id).event.received) ?? new Date(0));
		const before = after ? eventBefore(after) : last?.node;
		if (dayOf(after) === day) after.before(row.node);
		else {
			if (dayOf(before) !== day) insertBefore(dayRow(parse(event.received) ?? new Date(0)), after && headOf(after));
			insertBefore(row.node, after && headOf(after));
		}
		if (fresh) {
			row.node.classList.add("fresh");
			setTimeout(() => row.node.classList.remove("fresh"), 2500);
		}
	}

	function eventBefore(node) {
		do node = node.previousElementSibling; while (node && !node.classList.contains("event"));
		return node;
	}

	// headOf returns the line of the day that stands directly above a row.
	function headOf(node) {
		return node.previousElementSibling?.classList.contains("day") ? node.previousElementSibling : node;
	}

	function insertBefore(node, other) {
		body.insertBefore(node, other ?? null);
	}

	function trim() {
		if (rows.size <= mostRows) return;
		for (const node of nodes().slice(mostRows)) {
			node.remove();
			rows.delete(node.dataset.id);
			selected.delete(node.dataset.id);
		}
		for (const day of body.querySelectorAll(".day")) {
			if (!day.nextElementSibling || day.nextElementSibling.classList.contains("day")) day.remove();
		}
		trimmed = true;
		fill(end, button("Load more", () => more(), { class: "more", test: "load-more" }));
	}

	// Live.

	function follow() {
		stream?.close();
		stream = null;
		if (filters.until) {
			drawLive("past");
			return;
		}
		// A stream cannot search for text. While one is searched for, it only says
		// when to look again.
		// The stream is not asked for a state: what is listed for its state is drawn
		// also when it has left that.
		const { text, state: _, ...others } = asked(filters);
		stream = live(others, { onBatch: text ? lookAgain : arrived, onState: drawLive, onGap: catchUp });
	}

	// lookAgain catches up, once at a time however many batches come.
	async function lookAgain() {
		missed = true;
		if (looking) return;
		looking = true;
		while (missed) {
			missed = false;
			await catchUp();
		}
		looking = false;
	}

	// catchUp reads the first page after a gap and joins it with the list, or
	// begins again when too much came in between.
	async function catchUp() {
		if (!shownOnce) return;
		const mine = filters;
		try {
			const page = await get("activity", { ...asked(filters), n: pageSize });
			// Others were set meanwhile.
			if (mine !== filters) return;
			const known = page.events.some((event) => rows.has(event.id));
			if (!known && rows.size) {
				clearList();
				for (const event of page.events) place(event);
				next = page.next ?? "";
				drawEnd(page);
			} else arrived(page.events);
		} catch {
			// The stream says that it is not connected, and asks again when it is.
		}
	}

	function arrived(events) {
		for (const event of events) {
			const row = rows.get(event.id);
			if (row) row.draw(event);
			else if (isNewer(event) && inState(event)) waiting.set(event.id, event);
		}
		if (!waiting.size) return;
		// Nothing moves under a reader who is further down, walks with the keyboard
		// or selects.
		const busy = window.scrollY > 120 || selected.size > 0 || body.contains(document.activeElement);
		if (!busy) showWaiting(true);
		else drawNewer();
	}

	// inState says whether an event has a delivery in the state that is asked for.
	function inState(event) {
		return !filters.state || (event.deliveries ?? []).some((delivery) => standing(delivery) === filters.state && (!filters.action || delivery.action === filters.action));
	}

	// isNewer says whether an event belongs into the list. One further down comes
	// with the pages that are not read yet.
	function isNewer(event) {
		const last = lastRow();
		return !last || !next || older(last.event, event);
	}

	function showWaiting(aloud = false) {
		const events = [...waiting.values()];
		waiting.clear();
		for (const event of events) place(event, true);
		trim();
		list.hidden = false;
		allTools.hidden = false;
		if (end.querySelector(".empty")) fill(end);
		drawNewer();
		if (aloud) announce(`${plural(events.length, "new event")}`);
	}

	function drawNewer() {
		newer.hidden = waiting.size === 0;
		fill(newer, icon("down", "up"), el("span", plural(waiting.size, "new event")));
	}

	// Selecting.

	function choose(row, on) {
		row.tick.checked = on;
		row.node.classList.toggle("selected", on);
		if (on) selected.add(row.event.id);
		else selected.delete(row.event.id);
		drawSelection();
	}

	function clearSelection() {
		for (const row of rows.values()) {
			row.tick.checked = false;
			row.node.classList.remove("selected");
		}
		selected.clear();
		drawSelection();
	}

	function drawSelection() {
		bar.hidden = selected.size === 0;
		picked.textContent = `${plural(selected.size, "event")} selected`;
		tickAll.checked = rows.size > 0 && selected.size === rows.size;
		tickAll.indeterminate = selected.size > 0 && selected.size < rows.size;
	}

	// Walking.

	function step(by) {
		const all = nodes();
		const at = all.findIndex((node) => node.contains(document.activeElement));
		const target = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
		target?.querySelector("a.event-link").focus();
		target?.scrollIntoView({ block: "nearest" });
	}

	const view = {
		title: "Activity",
		keys: {
			j: () => step(1),
			k: () => step(-1),
			x: () => {
				const row = rows.get(document.activeElement?.closest("tr.event")?.dataset.id);
				if (row) choose(row, !row.tick.checked);
			},
			Escape: () => {
				if (selected.size) clearSelection();
				else return false;
			},
		},
		update(route) {
			begin(route.query);
		},
		hide() {
			stream?.close();
			stream = null;
			kept.address = to("activity", [], filters);
			kept.ids = nodes().map((node) => node.dataset.id);
		},
		show(route) {
			const wanted = pick(route.query);
			if (JSON.stringify(wanted) !== JSON.stringify(filters)) {
				begin(wanted);
				return;
			}
			follow();
			const last = rows.get(kept.last);
			if (last) {
				requestAnimationFrame(() => last.link?.focus({ preventScroll: true }));
			}
		},
		get focusesItself() {
			return rows.has(kept.last);
		},
		close() {
			stream?.close();
			endStatus();
		},
	};
	drawLive("connecting");
	begin(read().query);
	return view;
}

// kept shows the view of one event which events the list holds, so that one can
// walk from one to the next.
export const kept = {
	address: to("activity"),
	ids: [],
	last: "",
	// beside returns the id of the event that is by so many rows further down.
	beside(id, by) {
		const at = this.ids.indexOf(id);
		return at < 0 ? undefined : this.ids[at + by];
	},
};
