// The deliveries of an event, with their attempts: what was sent, what was
// answered.
import { el, fill, button } from "../dom.js";
import { icon } from "../icons.js";
import { post } from "../api.js";
import { confirmed } from "../dialogs.js";
import { code } from "../code.js";
import { shown, visible, mono, long } from "../shown.js";
import { copy } from "../copy.js";
import { parse, timeNode, took, due } from "../times.js";
import { to, eventAddress } from "../router.js";
import { mark, stateOf, standing, plural } from "../words.js";
import { resend } from "../again.js";
import { failed, toast } from "../toast.js";
import { refresh, heldBy, downFor } from "../status.js";
import { tryButton } from "../trying.js";

export function deliveriesSection(detail, { changed }) {
	const heading = el("h2", "Deliveries");
	const box = el("div.stack");
	const node = el("section.panel", { "aria-labelledby": "deliveries-title", test: "deliveries" }, heading, box);
	heading.id = "deliveries-title";
	// Which attempts are open, so that a change does not close what is read.
	const openAttempts = new Map();

	const update = (next) => {
		const all = next.deliveries ?? [];
		fill(heading, `Deliveries${all.length ? ` (${all.length})` : ""}`);
		fill(box, all.length ? all.map((delivery) => card(delivery, changed, openAttempts)) : el("p.muted", "Nothing was or will be sent for this event. The reason is in the verdict, and rule by rule below."));
	};
	update(detail);
	return { node, update };
}

function card(delivery, changed, openAttempts) {
	const kind = stateOf(standing(delivery));
	const history = delivery.history ?? [];
	return el(`article.delivery.edge-${kind.tone}`, { test: "delivery", "data-id": delivery.id, "data-state": standing(delivery) },
		el("header",
			el("h3", el("a", { href: to("actions", delivery.action) }, shown(delivery.action, 100))),
			mark(kind),
			el("div.delivery-tools",
				delivery.state === "pending"
					? [heldBy(delivery) ? null : tryButton({ delivery: delivery.id }, { of: `the delivery for ${visible(delivery.action)}`, done: changed }), button([icon("barred"), "Cancel"], () => cancel(delivery, changed), { class: "small", test: "cancel-delivery" })]
					: delivery.mended_by ? null : button([icon("again"), "Send again"], () => resend({ ids: [delivery.id] }, { what: "this delivery", would: { events: 1, deliveries: 1, arrived: delivery.state === "delivered" ? 1 : 0, actions: { [delivery.action]: 1 } }, done: changed }), { class: "small", test: "resend-delivery" }))),
		el("p", sentence(delivery)),
		delivery.mended_by ? el("p", { test: "mended" }, "Mended: it was sent again as ", otherLink(delivery.mended_by), ", which arrived.") : null,
		delivery.of ? el("p", "It repeats the delivery ", otherLink(delivery.of), ".") : null,
		el("p.muted.id-line", "Delivery ", button([mono(delivery.id), icon("copy")], () => copy(delivery.id, "the delivery's id"), { class: "link", "aria-label": `Copy the id of the delivery ${delivery.id}` })),
		history.length ? el("ol.attempts", { "aria-label": "Attempts" }, history.map((attempt, i) => attemptItem(delivery, attempt, i, i === history.length - 1, openAttempts))) : null);
}

// otherLink leads to another delivery, which is mostly on this very page.
function otherLink(id) {
	return el("a", { href: eventAddress(id), onclick: (event) => {
		const other = document.querySelector(`[data-id="${CSS.escape(id)}"]`);
		if (!other) return;
		event.preventDefault();
		other.scrollIntoView({ block: "center" });
		other.querySelector("a, button")?.focus({ preventScroll: true });
	} }, mono(id));
}

function sentence(delivery) {
	const n = plural(delivery.attempts ?? 0, "attempt");
	const why = delivery.error ? [": ", long(delivery.error, 300)] : delivery.status ? `, answered ${delivery.status}` : "";
	switch (delivery.state) {
	case "delivered": return [`Delivered after ${n}, `, timeNode(delivery.ended), delivery.status ? `, answered ${delivery.status}` : "", "."];
	case "failed": return [`Failed for good after ${n}, `, timeNode(delivery.ended), why, "."];
	case "expired": return [delivery.attempts ? `Expired after ${n}, ` : "Expired, ", timeNode(delivery.ended), why, "."];
	case "cancelled": return [`Cancelled after ${n}, `, timeNode(delivery.ended), "."];
	case "pending": {
		const held = heldBy(delivery);
		if (held) return [delivery.attempts ? [`Not delivered after ${n}`, why, ". "] : null, el("strong", { test: "paused" }, held.kind === "action" ? ["It waits: action ", shown(held.name, 80), " is paused"] : "It waits: everything is switched off"),
			parse(held.since) ? [" since ", timeNode(held.since)] : null, parse(held.until) ? [" until ", timeNode(held.until)] : null, held.reason ? [" (", shown(held.reason, 160), ")"] : null, "."];
		const next = delivery.behind ? ["It waits for the delivery ", el("a", { href: eventAddress(delivery.behind) }, mono(delivery.behind)), " of the same order_by, which must end first."]
			: downFor(delivery) ? ["It waits for the target ", mono(delivery.down), ", which is down and is tested with one delivery at a time."]
			: parse(delivery.due) ? ["Next attempt: ", timeNode(delivery.due, due), "."] : "It waits.";
		return delivery.attempts ? [`Not delivered after ${n}`, why, ". ", next] : ["Not tried yet. ", next];
	}
	default: return n;
	}
}

function attemptItem(delivery, attempt, i, isLast, openAttempts) {
	const key = `${delivery.id} ${i}`;
	const good = !attempt.error && attempt.status && isLast && delivery.state === "delivered";
	const tone = good ? "good" : "bad";
	// A target that is down gives the same error each time: it is read once.
	const before = delivery.history[i - 1];
	const same = attempt.error && before?.error === attempt.error && before.status === attempt.status;
	const body = el("div.attempt-body",
		attempt.empty?.length ? el("p.note", "These tags gave nothing: ", attempt.empty.map((name) => [el("code", shown(name, 80)), " "])) : null,
		attempt.error && !same ? el("p", el("strong", "Error: "), long(attempt.error, 800)) : null,
		attempt.request ? code(attempt.request, { title: "Request sent", test: "sent-request" }) : el("p.muted", "No request was sent."),
		attempt.response ? code(attempt.response, { title: `Answer${attempt.status ? ` ${attempt.status}` : ""}`, test: "answer" }) : attempt.status ? el("p.muted", `Answered ${attempt.status} without a body.`) : el("p.muted", "There was no answer."));
	const details = el("details", { open: openAttempts.get(key) ?? isLast, ontoggle: () => openAttempts.set(key, details.open) },
		el("summary", el(`span.mark.tone-${tone}`, icon(good ? "check" : "cross"), el("span", `Attempt ${i + 1}`)), " ",
			el("span.attempt-line", timeNode(attempt.began), attempt.status ? ` · answered ${attempt.status}` : " · no answer", same ? " · the same error" : attempt.error ? [" · ", shown(attempt.error, 90)] : null, ` · took ${took(attempt.took_ms)}`)),
		body);
	return el("li", { test: "attempt" }, details);
}

async function cancel(delivery, changed) {
	if (!await confirmed("Cancel this delivery?", "It will not be sent any more. It can be sent again later.", "Cancel the delivery", { danger: true })) return;
	try {
		await post("cancel", { delivery: delivery.id });
		toast("The delivery is cancelled.");
		refresh();
		changed();
	} catch (error) {
		failed(error);
	}
}
