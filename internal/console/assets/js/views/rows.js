// One event as a row of the activity.
import { el, fill } from "../dom.js";
import { icon } from "../icons.js";
import { shown, visible } from "../shown.js";
import { parse, clock, full, date, dayName, due, timeNode } from "../times.js";
import { eventAddress } from "../router.js";
import { heldBy, downFor } from "../status.js";
import { mark, verdictOf, stateOf, standing } from "../words.js";

// eventRow makes the row; draw(event) shows another state of the same event.
export function eventRow(event, { onSelect }) {
	const tick = el("input", { type: "checkbox", "aria-label": `Select ${visible(event.event)} of ${visible(event.source)}${event.subject ? `: ${visible(event.subject)}` : ""}`, test: "select-event", onchange: () => onSelect(row, tick.checked) });
	const node = el("tr.event", { role: "row", test: "event-row", "data-id": event.id });
	let drawn = "";
	const row = {
		node, tick, event,
		get link() { return node.querySelector("a.event-link"); },
		draw(next) {
			// What has not changed stays: it may be about to be clicked. What keeps
			// deliveries waiting changes without the event.
			const says = JSON.stringify([next, next.deliveries?.map((delivery) => [heldBy(delivery), Boolean(downFor(delivery))])]);
			if (says === drawn) return;
			drawn = says;
			row.event = next;
			const focused = document.activeElement === row.link;
			const at = parse(next.received);
			const kind = verdictOf(next);
			fill(node,
				el("td.c-select", { role: "cell" }, el("label.tick", tick)),
				el("td.c-time", { role: "cell" }, at ? el("time", { datetime: at.toISOString(), title: full(at) }, clock(at)) : "unknown"),
				el("td.c-event", { role: "cell" },
					el("a.event-link", { href: eventAddress(next.id), test: "event-link" }, shown(next.event, 80)),
					" ", shown(next.source, 40, "span.source.shown"),
					next.tenant ? [" ", el("span.tenant", { title: "tenant" }, shown(next.tenant, 24))] : null,
					marksOf(next),
					next.subject ? el("div.subject", { test: "subject" }, shown(next.subject, 200)) : null),
				el("td.c-verdict", { role: "cell" }, mark(kind), " ", el("span.reason", reasonOf(next))),
				el("td.c-deliveries", { role: "cell" }, deliveriesOf(next)));
			if (focused) row.link.focus({ preventScroll: true });
		},
	};
	row.draw(event);
	return row;
}

export function marksOf(event) {
	return [
		event.test ? el("span.tagmark", { title: "A test event" }, icon("flask"), "test") : null,
		event.parse_error ? el("span.tagmark.tone-warn", { title: visible(event.parse_error.slice(0, 300)) }, icon("warning"), "body not well-formed") : null,
	];
}

function reasonOf(event) {
	if (event.duplicate_of) return ["repeats ", shown(event.duplicate_of.slice(0, 13), 13, "code.shown"), "…"];
	const verdict = event.verdict ?? {};
	const place = verdict.rule || verdict.not_held;
	return [shown(verdict.reason, 260), absentOf(verdict), place ? [" · ", shown(place, 60, "code.shown")] : null];
}

// absentOf names what was absent where it may be why nothing was done, unless the
// reason names it.
function absentOf(verdict) {
	if (verdict.decision === "action") return null;
	const absent = (verdict.absent ?? []).filter((name) => !verdict.reason?.includes(`${name} is absent`));
	return absent.length ? [" · absent: ", absent.slice(0, 4).map((name, i) => [i ? ", " : "", shown(name, 60, "code.shown")]), absent.length > 4 ? "…" : null] : null;
}

const mostDeliveries = 4;

function deliveriesOf(event) {
	const all = event.deliveries ?? [];
	if (!all.length) return el("span.muted.none", "none");
	return el("ul.deliveries", all.slice(0, mostDeliveries).map((delivery) => {
		const kind = stateOf(standing(delivery));
		return el("li", mark(kind), " ", shown(delivery.action, 60, "span.shown.action"), detailOf(delivery));
	}), all.length > mostDeliveries ? el("li.muted", `and ${all.length - mostDeliveries} more`) : null);
}

// detailOf says in a few words what stands behind a delivery's state.
export function detailOf(delivery) {
	const parts = [];
	const held = heldBy(delivery);
	if (held) parts.push(el("strong", { test: "paused" }, held.kind === "action" ? "paused" : "switched off", held.reason ? [": ", shown(held.reason, 60)] : null));
	if (delivery.of) parts.push("sent again");
	if (delivery.mended_by) parts.push(stateOf(delivery.state).word);
	if (delivery.state !== "delivered" && delivery.status) parts.push(String(delivery.status));
	else if (delivery.state !== "delivered" && delivery.error) parts.push(visible(delivery.error.slice(0, 60)) + (delivery.error.length > 60 ? "…" : ""));
	if (downFor(delivery)) parts.push("waits for the target, which is down");
	else if (delivery.state === "pending" && delivery.attempts) {
		parts.push([`attempt ${delivery.attempts + 1} `, parse(delivery.due) ? timeNode(delivery.due, due) : null]);
	} else if (delivery.attempts > 1) parts.push(`${delivery.attempts} attempts`);
	return parts.length ? el("span.detail", { dir: "auto" }, parts.map((part, i) => [i ? " · " : "", part])) : null;
}

// dayRow stands where a day begins.
export function dayRow(at) {
	return el("tr.day", { role: "row", "data-day": date(at) }, el("th", { role: "rowheader", colspan: "5", scope: "rowgroup" }, dayName(at)));
}
