// A test event: it takes the same way as any other and is marked as a test
// throughout.
import { el, fill, button, labelled, select } from "../dom.js";
import { choice } from "../choice.js";
import { icon } from "../icons.js";
import { get, post } from "../api.js";
import { shown, mono } from "../shown.js";
import { timeNode } from "../times.js";
import { to, eventAddress } from "../router.js";
import { live } from "../live.js";
import { detailOf } from "./rows.js";
import { mark, verdictOf, stateOf, plural } from "../words.js";
import { failed } from "../toast.js";

const ownSource = "relay";

export function open(container, route) {
	let catalogue = [];
	let stream = null;
	const source = select([], "", { test: "send-source", required: true, onchange: () => drawEvents() });
	const event = choice("Event", { first: [["", "choose …"]], required: true, test: "send-event", onChange: () => suggest() });
	const body = el("textarea", { rows: "10", spellcheck: "false", dir: "auto", test: "send-body", placeholder: '{"project": {"id": 4711}}' });
	const type = el("input", { type: "text", placeholder: "found out from the body", list: "send-types", autocomplete: "off", test: "send-type" });
	const values = el("div.value-rows");
	const note = el("p.note", { role: "status" });
	const problem = el("p.problem", { role: "alert", hidden: true });
	const result = el("div", { "aria-live": "polite" });
	const valueNames = el("datalist", { id: "send-names" });

	const addValue = (name = "", value = "", focus = false) => {
		const nameInput = el("input", { type: "text", "aria-label": "Name of a value", placeholder: "name", value: name, list: "send-names", spellcheck: "false", test: "value-name" });
		const row = el("div.value-row", nameInput,
			el("input", { type: "text", "aria-label": "Its value", placeholder: "value", value, spellcheck: "false", dir: "auto", test: "value-value" }),
			button(icon("close"), () => {
				row.remove();
				adder.focus();
			}, { class: "plain-icon", "aria-label": "Remove this value" }));
		values.append(row);
		if (focus) nameInput.focus();
	};
	const adder = button("Add a value", () => addValue("", "", true), { class: "small", test: "add-value" });
	const likeButton = button("Fill in from the newest event of this name", () => fillFromNewest(), { class: "small", test: "fill-newest" });

	const form = el("form.panel.send", { onsubmit: send, test: "send-form" },
		el("div.two", labelled("Source", source), event.node),
		el("p.note", "An event whose name the source does not know is stored and ignored. That can be tried too: choose \"another name …\"."),
		el("div.tools", likeButton), note,
		el("fieldset", el("legend", "Values"), el("p.note", "Sent like the query of a request; the parameters and fields of the source are read from them."), values, adder),
		labelled("Body", body),
		labelled("Content-Type", type),
		valueNames, el("datalist", { id: "send-types" }, ["application/json", "application/x-www-form-urlencoded", "application/xml", "text/plain"].map((value) => el("option", { value }))),
		problem,
		el("div.actions", el("button.primary", { type: "submit", test: "send-submit" }, icon("flask"), "Send the test event")));
	fill(container,
		el("nav.walk", { "aria-label": "Back" }, el("a.back", { href: to("events") }, icon("left"), "Events")),
		el("div.view-head", el("h1", { tabindex: "-1" }, "Send a test event")),
		el("p.intro", "It is decided, stored and carried out like any other: the actions are really called, with the header ", el("code", "X-Event-Test: 1"), ". It is marked as a test everywhere."),
		result, form);

	const drawEvents = () => {
		const chosen = catalogue.find((one) => one.source === source.value);
		event.know([{ words: (chosen?.events ?? []).map((one) => one.name) }]);
	};

	// suggest offers the names of values that events of this name had.
	const suggest = async () => {
		fill(valueNames);
		if (!source.value || !event.value) return;
		try {
			const seen = await get("fields", { source: source.value, event: event.value });
			fill(valueNames, (seen.fields ?? []).filter((field) => !field.path.startsWith("body")).map((field) => el("option", { value: field.path.replace(/^query\./, "") })));
		} catch {
			// Only a help: without it names are typed.
		}
	};

	const fillFrom = (detail) => {
		source.value = detail.source;
		drawEvents();
		event.value = detail.event;
		body.value = detail.request?.body ?? "";
		type.value = Object.entries(detail.request?.headers ?? {}).find(([name]) => name.toLowerCase() === "content-type")?.[1]?.[0] ?? "";
		fill(values);
		for (const [name, list] of Object.entries(detail.request?.query ?? {})) addValue(name, [list].flat()[0] ?? "");
		fill(note, "Filled in from the event of ", timeNode(detail.received), " (", el("a", { href: eventAddress(detail.id) }, "show it"), "). Change what you want to try.",
			detail.request?.body_base64 ? " Its body is binary and was left out." : null);
	};

	const fillFromNewest = async () => {
		try {
			const page = await get("activity", { source: source.value, event: event.value, n: 1 });
			if (!page.events.length) {
				fill(note, "There is no stored event of this name yet.");
				return;
			}
			fillFrom(await get(`events/${page.events[0].id}`));
		} catch (error) {
			failed(error);
		}
	};

	async function send(submit) {
		submit.preventDefault();
		problem.hidden = true;
		const rows = [...values.querySelectorAll(".value-row")].map((row) => [...row.querySelectorAll("input")].map((input) => input.value)).filter(([name]) => name.trim());
		try {
			const sent = await post("send", {
				source: source.value, event: event.value.trim(),
				...(rows.length ? { values: Object.fromEntries(rows.map(([name, value]) => [name.trim(), value])) } : {}),
				...(body.value ? { body: body.value } : {}), ...(type.value ? { content_type: type.value } : {}),
			});
			showResult(sent.ids ?? []);
		} catch (error) {
			problem.hidden = false;
			problem.textContent = error.message;
		}
	}

	// showResult lists what was stored, and follows it until all is delivered or
	// the reader goes on.
	function showResult(ids) {
		const lines = new Map(ids.slice(0, 20).map((id) => [id, el("li", mono(id))]));
		const box = el("section.panel", { test: "send-result" }, el("h2", { tabindex: "-1" }, ids.length === 1 ? "The test event is stored" : `${plural(ids.length, "test event")} are stored`),
			el("ul.sent", [...lines.values()]),
			ids.length === 1 ? el("a.button", { href: eventAddress(ids[0]), test: "show-sent" }, "Show it in full") : null);
		const read = async (id) => {
			try {
				const detail = await get(`events/${id}`);
				fill(lines.get(id), el("a", { href: eventAddress(id), test: "sent-event" }, mono(id)), " ", mark(verdictOf(detail)), " ", shown(detail.verdict?.reason, 200),
					el("ul.deliveries", (detail.deliveries ?? []).map((delivery) => el("li", mark(stateOf(delivery.state)), " ", shown(delivery.action, 80), detailOf(delivery)))));
			} catch (error) {
				failed(error);
			}
		};
		stream?.close();
		stream = live({ source: source.value, event: event.value.trim() }, {
			onBatch: (events) => events.filter((one) => lines.has(one.id)).forEach((one) => read(one.id)),
			onState: () => {},
			onGap: () => lines.forEach((_, id) => read(id)),
		});
		fill(result, box);
		lines.forEach((_, id) => read(id));
		box.scrollIntoView({ block: "nearest" });
		box.querySelector("h2").focus({ preventScroll: true });
	}

	(async () => {
		try {
			catalogue = (await get("catalogue")).filter((one) => one.source !== ownSource);
			fill(source, catalogue.map((one) => el("option", { value: one.source }, one.source)));
			if (route.query.source) source.value = route.query.source;
			event.value = route.query.event ?? "";
			drawEvents();
			if (route.query.like) fillFrom(await get(`events/${encodeURIComponent(route.query.like)}`));
			suggest();
		} catch (error) {
			failed(error);
		}
	})();
	return { title: "Send a test event", close: () => stream?.close() };
}
