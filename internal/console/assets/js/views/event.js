// One event in full: did it arrive, what was decided and why, what was sent,
// what was answered.
import { el, fill, button } from "../dom.js";
import { icon } from "../icons.js";
import { get, address } from "../api.js";
import { live } from "../live.js";
import { heldBy, onStatus } from "../status.js";
import { shown, visible, mono, long } from "../shown.js";
import { copy } from "../copy.js";
import { parse, timeNode, full, relative, due, clock } from "../times.js";
import { to, eventAddress, go } from "../router.js";
import { mark, verdictOf, stateOf, standing, plural, bytes } from "../words.js";
import { resend, decide } from "../again.js";
import { kept } from "./activity.js";
import { marksOf } from "./rows.js";
import { deliveriesSection } from "./event_deliveries.js";
import { whySection } from "./event_why.js";
import { requestSection, valuesSection } from "./event_request.js";

export function open(container, route) {
	let id = route.parts[0] ?? "";
	let detail = null;
	let stream = null;
	let again = null;
	const problem = el("div", { role: "alert" });
	const heading = el("h1", { tabindex: "-1", test: "event-title" }, "Event");
	const marks = el("span.marks");
	const subject = el("p.subject", { test: "event-subject" });
	const line = el("p.subline");
	const way = el("ol.way", { test: "way", "aria-label": "The way of this event" });
	const tools = el("div.tools");
	const older = el("a.button.small", { test: "event-older" }, "Older", icon("right"));
	const newer = el("a.button.small", { test: "event-newer" }, icon("left"), "Newer");
	const walk = el("nav.walk", { "aria-label": "Events of the list" }, el("a.back", { href: to("activity"), onclick: (event) => {
		event.preventDefault();
		back();
	}, test: "back" }, icon("left"), "Activity"), newer, older);
	const left = el("div.column");
	const right = el("div.column");
	fill(container, walk, el("div.view-head.event-head", el("div.title-line", heading, marks), subject, line), problem, tools, way, el("div.columns", left, right));

	// What was opened stays open when the event changes under it.
	let sections = null;

	// What keeps deliveries waiting changes without the event.
	const heldNow = () => JSON.stringify((detail.deliveries ?? []).map(heldBy));
	let held = "";
	const endStatus = onStatus(() => {
		if (!sections || held === heldNow()) return;
		held = heldNow();
		sections.deliveries.update(detail);
		fill(way, steps(detail));
	});

	async function load(quiet = false) {
		try {
			const read = await get(`events/${encodeURIComponent(id)}`);
			fill(problem);
			const same = detail?.id === read.id;
			const sameVerdict = same && JSON.stringify(detail.verdict) === JSON.stringify(read.verdict);
			detail = read;
			draw(sameVerdict && sections);
			if (!same) {
				follow();
				point();
			}
		} catch (error) {
			if (quiet && error.status === 0) return;
			fill(heading, "Event");
			fill(problem, el("div.problem", el("p", error.status === 404
				? "There is no such event. It may have been removed because it is older than the retention, or the address is not complete."
				: error.message), button("Try again", () => load(), { class: "small" })));
			fill(way);
			fill(tools);
			delete tools.dataset.offered;
		}
	}

	// point shows the delivery that the address names, if it names one.
	function point() {
		const delivery = detail.deliveries?.find((one) => id !== detail.id && one.id.startsWith(id));
		const node = delivery && container.querySelector(`[data-id="${CSS.escape(delivery.id)}"]`);
		node?.classList.add("pointed");
		node?.scrollIntoView({ block: "nearest" });
	}

	function draw(keep) {
		view.title = `${detail.event} of ${detail.source}${detail.subject ? `: ${visible(detail.subject)}` : ""}`;
		window.dispatchEvent(new Event("titlechange"));
		fill(heading, shown(detail.event, 120));
		subject.hidden = !detail.subject;
		fill(subject, detail.subject ? shown(detail.subject, 200) : null);
		fill(marks, mark(verdictOf(detail)), marksOf(detail));
		fill(line, "from ", el("strong", shown(detail.source, 60)), detail.tenant ? [", tenant ", el("strong", shown(detail.tenant, 60))] : null,
			" · ", timeNode(detail.received, full), detail.node ? [" by ", shown(detail.node, 60)] : null, " · ", button([mono(detail.id), icon("copy")], () => copy(detail.id, "the id"), { class: "link", "aria-label": `Copy the id ${detail.id}`, test: "copy-id" }),
			detail.duplicate_of ? [" · repeats ", el("a", { href: eventAddress(detail.duplicate_of) }, mono(detail.duplicate_of))] : null);
		// What was sent again is told by the later delivery.
		const ended = (detail.deliveries ?? []).filter((delivery) => delivery.state !== "pending" && !detail.deliveries.some((other) => other.of === delivery.id));
		// What has not changed stays: it may be about to be clicked.
		const offered = JSON.stringify([detail.id, ended.length]);
		if (offered !== tools.dataset.offered) {
			tools.dataset.offered = offered;
			fill(tools,
				button([icon("again"), ended.length > 1 ? "Send all again" : "Send again"], sendAgain, { class: "primary", disabled: ended.length === 0, title: ended.length ? null : "Nothing of this event was sent, or it is still being sent", test: "resend-event" }),
				button("Decide again", () => decide({ ids: [detail.id] }, { what: "this event", done: load }), { test: "decide-event" }),
				el("a.button", { href: address(`events/${encodeURIComponent(detail.id)}/http`), download: `${detail.id}.http`, test: "download-http" }, icon("save"), "Download .http"),
				el("a.button", { href: to("send", [], { like: detail.id }), test: "send-like" }, icon("flask"), "Send as a test"));
		}
		fill(way, steps(detail));
		if (keep) {
			sections.deliveries.update(detail);
			return;
		}
		held = heldNow();
		sections = { deliveries: deliveriesSection(detail, { changed: load }), why: whySection(detail) };
		fill(left, sections.deliveries.node, sections.why);
		fill(right, requestSection(detail), valuesSection(detail));
		const place = (link, by) => {
			const other = kept.beside(detail.id, by);
			link.hidden = !other;
			if (other) link.href = eventAddress(other);
		};
		place(newer, -1);
		place(older, 1);
		kept.last = detail.id;
	}

	function sendAgain() {
		resend({ ids: [detail.id] }, { what: "this event", done: load });
	}

	// The event is read again when the live stream reports it.
	function follow() {
		stream?.close();
		stream = live({ source: detail.source, event: detail.event }, {
			onBatch: (events) => {
				if (!events.some((event) => event.id === detail.id)) return;
				clearTimeout(again);
				again = setTimeout(() => load(true), 150);
			},
			onState: () => {},
			onGap: () => load(true),
		});
	}

	// back leads to the list as it was left, with its filters.
	function back() {
		go(kept.address);
	}

	const view = {
		title: "Event",
		keys: {
			Escape: back,
			r: () => detail && sendAgain(),
			j: () => !older.hidden && go(older.getAttribute("href")),
			k: () => !newer.hidden && go(newer.getAttribute("href")),
		},
		update(next) {
			id = next.parts[0] ?? "";
			load().then(() => {
				window.scrollTo(0, 0);
				heading.focus({ preventScroll: true });
			});
		},
		close() {
			clearTimeout(again);
			stream?.close();
			endStatus();
		},
	};
	load();
	return view;
}

// steps answers the four questions in one line each.
function steps(detail) {
	const at = parse(detail.received);
	const request = detail.request ?? {};
	const size = request.body ? new Blob([request.body]).size : request.body_base64 ? Math.floor(request.body_base64.length * 3 / 4) : 0;
	const deliveries = detail.deliveries ?? [];
	const step = (title, kind, ...children) => el(`li.step.tone-${kind.tone}`, el("h2", icon(kind.icon), title), ...children);
	const attempts = deliveries.reduce((sum, delivery) => sum + (delivery.attempts ?? 0), 0);
	const actions = detail.verdict?.actions ?? [];
	const verdict = verdictOf(detail);

	const arrived = step("Arrived", detail.parse_error ? { icon: "warning", tone: "warn" } : { icon: "check", tone: "good" },
		el("p", at ? [`at ${clock(at)}, `, el("span.muted", timeNode(detail.received, relative))] : "at an unknown time"),
		el("p", mono(`${request.method ?? ""} ${request.path ?? ""}`, 60), request.ip ? [" from ", mono(request.ip)] : null),
		el("p.muted", detail.test ? "made up as a test" : size ? `body of ${bytes(size)}` : "no body"),
		detail.parse_error ? el("p", "The body was not well-formed; what can be read of it was read.") : null);

	const decided = step("Decided", verdict,
		el("p", el("strong", verdict.word), detail.verdict?.rule ? [" by ", mono(detail.verdict.rule, 60)] : detail.verdict?.not_held ? [" at ", mono(detail.verdict.not_held, 60)] : null),
		el("p", detail.duplicate_of ? "It repeats an event that came before: nothing is done twice." : long(detail.verdict?.reason || "No reason was stored.", 240)));

	const sent = !deliveries.length
		? step("Sent", { icon: "dash", tone: "quiet" }, el("p", "Nothing was sent"), el("p.muted", detail.verdict?.decision === "action" && actions.length ? "although actions were asked for" : "no action was asked for"))
		: step("Sent", attempts ? { icon: "arrow", tone: "info" } : { icon: "clock", tone: "warn" },
			el("p", el("strong", plural(deliveries.length, "delivery", "deliveries")), ` in ${plural(attempts, "attempt")}`),
			el("ul", deliveries.slice(0, 4).map((delivery) => el("li", shown(delivery.action, 60)))),
			deliveries.length > 4 ? el("p.muted", `and ${deliveries.length - 4} more`) : null);

	const worst = ["failed", "expired", "pending", "cancelled", "delivered", "mended"].find((state) => deliveries.some((delivery) => standing(delivery) === state));
	const answered = !deliveries.length
		? step("Answered", { icon: "dash", tone: "quiet" }, el("p.muted", "nothing to be answered"))
		: step("Answered", stateOf(worst), el("ul", deliveries.slice(0, 4).map((delivery) => el("li", mark(stateOf(standing(delivery))), delivery.status ? ` ${delivery.status}` : null,
			!["delivered", "mended"].includes(standing(delivery)) && delivery.error ? [": ", shown(delivery.error, 110)] : null,
			heldBy(delivery) ? (heldBy(delivery).kind === "action" ? ", paused" : ", switched off") : delivery.state === "pending" && parse(delivery.due) ? [", next attempt ", timeNode(delivery.due, due)] : null))));
	return [arrived, decided, sent, answered];
}
