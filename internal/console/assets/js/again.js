// Sending again and deciding again: first what it would do, then, when it is
// confirmed, doing it, with its progress and what came of it.
import { el, fill, button } from "./dom.js";
import { postLong } from "./api.js";
import { openDialog } from "./dialogs.js";
import { mono } from "./shown.js";
import { eventAddress } from "./router.js";
import { difference } from "./difference.js";
import { plural } from "./words.js";
import { refresh } from "./status.js";

// resend asks about sending a selection again: {ids} or {filter}. would is what it
// would do, if that is known without counting.
export function resend(selection, { what, would, done = () => {} }) {
	return again({
		path: "resend", selection, title: "Send again", what, would, done,
		counted: (would) => would.deliveries === 0
			? { nothing: el("p", "There is nothing to send again: a delivery that is still pending is never sent twice, and an event without deliveries has nothing to send. To have it decided once more, use ", el("em", "Decide again"), ".", leftOut(would)) }
			: { text: [el("p", `${plural(would.deliveries, "delivery", "deliveries")} of ${plural(would.events, "event")} will be sent again, each as a new delivery with a key of its own, linked to the old one:`), actionList(would.actions), would.arrived ? el("p.tone-warn", { test: "again-arrived" }, `${would.arrived.toLocaleString("en")} of them arrived before: the target gets the same request a second time.`) : null, leftOut(would)], label: `Send ${plural(would.deliveries, "delivery", "deliveries")} again` },
		finished: (did) => [el("p", { test: "again-result" }, did.deliveries === 0 ? "Nothing was sent again." : `${plural(did.deliveries, "delivery", "deliveries")} of ${plural(did.events, "event")} ${did.deliveries === 1 ? "is" : "are"} on the way.`), leftOut(did),
			did.ids?.length ? el("details", el("summary", `The new ${did.ids.length === 1 ? "delivery" : "deliveries"}`), el("ul.ids", did.ids.slice(0, 100).map((id) => el("li", el("a", { href: eventAddress(id) }, mono(id)))))) : null],
	});
}

// decide asks about deciding a selection again by the rules of now.
export function decide(selection, { what, done = () => {} }) {
	return again({
		path: "decide", selection, title: "Decide again by the present rules", what, done,
		counted: (would) => {
			if (would.changed === 0) return { nothing: el("p", `${plural(would.events, "event")} would be decided as before: nothing would change.`) };
			const { node, chosen } = part(Object.keys(would.fires ?? {}));
			return {
				text: [el("p", `For ${would.changed.toLocaleString("en")} of ${plural(would.events, "event")} the verdict changes.`), node, difference(would)],
				label: "Decide again and send what newly fires", chosen,
			};
		},
		finished: (did) => [el("p", { test: "again-result" }, `${plural(did.events, "event")} decided again, ${did.changed.toLocaleString("en")} changed.`), difference(did)],
	});
}

function again({ path, selection, title, what, would, counted, finished, done }) {
	const abort = new AbortController();
	let over = false;
	const counting = el("p", { role: "status" }, `Counting what this means for ${what} …`);
	const { body, close } = openDialog(title, () => counting, {
		test: "again-dialog", wide: path === "decide",
		onclose: () => {
			abort.abort();
			if (over) done();
		},
	});
	const problem = (error) => {
		if (error.name === "AbortError") return;
		fill(body, el("p.problem", { role: "alert" }, error.message), el("div.actions", button("Close", close, { class: "primary" })));
	};
	const run = async (chosen) => {
		const bar = el("progress", { "aria-label": title });
		const progress = el("p", { role: "status" }, "Working …");
		const stop = button("Stop here", close);
		fill(body, progress, bar, el("div.actions", stop));
		over = true;
		try {
			const result = await postLong(path, { ...selection, ...chosen }, ({ done: n, total }) => {
				if (total) {
					bar.max = total;
					bar.value = n;
				}
				progress.textContent = total ? `${n.toLocaleString("en")} of ${total.toLocaleString("en")}` : n.toLocaleString("en");
			}, abort.signal);
			const ok = button("Close", close, { class: "primary", test: "again-close" });
			fill(body, el("div", { role: "status" }, finished(result)), el("div.actions", ok));
			ok.focus();
			refresh();
		} catch (error) {
			problem(error);
		}
	};
	const count = would ? Promise.resolve(would) : postLong(path, { ...selection, dry_run: true }, ({ done: n, total }) => {
		counting.textContent = `Counting what this means for ${what}: ${n.toLocaleString("en")}${total ? ` of ${total.toLocaleString("en")}` : ""} …`;
	}, abort.signal);
	count.then((would) => {
		const { nothing, text, label, chosen = () => ({}) } = counted(would);
		if (nothing) {
			fill(body, nothing, el("div.actions", button("Close", close, { class: "primary" })));
			return;
		}
		const complaint = el("p.problem", { role: "alert", hidden: true }, "Choose at least one action.");
		const go = button(label, () => {
			const some = chosen();
			complaint.hidden = some !== null;
			if (some) run(some);
		}, { class: "primary", test: "again-confirm" });
		fill(body, text, complaint, el("div.actions", button("Cancel", close), go));
		go.focus();
	}).catch(problem);
}

function actionList(actions) {
	return el("ul.counts", Object.entries(actions ?? {}).map(([name, n]) => el("li", el("strong", n.toLocaleString("en")), " × ", mono(name, 80))));
}

function leftOut(result) {
	return result.unknown ? el("p.note", `${plural(result.unknown, "delivery", "deliveries")} left out: the action is not configured any more.`) : null;
}

// part lets one choose which of several actions are sent. chosen returns what the
// call is narrowed to, nothing for all, and null if none is chosen.
function part(actions) {
	if (actions.length < 2) return { node: null, chosen: () => ({}) };
	const ticks = actions.sort().map((action) => el("input", { type: "checkbox", value: action, checked: true, test: "again-only" }));
	const note = el("p.note", "Without a tick at each, only what the others fire is done; everything else of the difference is left as it is.");
	return {
		node: el("fieldset.choices", el("legend", "Send what newly fires of"), ticks.map((tick) => el("label", tick, mono(tick.value, 80))), note),
		chosen: () => {
			const some = ticks.filter((tick) => tick.checked).map((tick) => tick.value);
			return some.length === 0 ? null : some.length === ticks.length ? {} : { only: some };
		},
	};
}
