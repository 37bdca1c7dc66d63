// The filters of the activity: a form, and a chip for each that is set.
import { el, fill, button, labelled, select } from "../dom.js";
import { choice } from "../choice.js";
import { icon } from "../icons.js";
import { visible } from "../shown.js";
import { ranges, moment, forInput, parse } from "../times.js";
import { verdicts, states } from "../words.js";
import { get } from "../api.js";

export const filterKeys = ["since", "until", "source", "event", "verdict", "action", "state", "tenant", "text"];

const names = { since: "from", until: "until", source: "source", event: "event", verdict: "verdict", action: "action", state: "state", tenant: "tenant", text: "contains" };

// pick leaves of a query what are filters.
export function pick(query) {
	return Object.fromEntries(filterKeys.filter((key) => query[key]).map((key) => [key, query[key]]));
}

// asked turns filters into what the API takes.
export function asked(filters) {
	return { ...filters, since: moment(filters.since), until: moment(filters.until) };
}

// filterForm makes the form. onChange gets all filters whenever one changes.
export function filterForm(onChange) {
	let filters = {};
	const change = (changes) => {
		filters = pick({ ...filters, ...changes });
		onChange(filters);
	};
	const on = (key) => ({ onchange: (event) => change({ [key]: event.target.value.trim() }), test: `filter-${key}` });

	// Names from the configuration, to choose from.
	const any = [["", "any"]];
	const named = {
		source: choice("Source", { first: any, test: "filter-source", onChange: (source) => { change({ source }); drawEvents(); } }),
		event: choice("Event", { first: any, test: "filter-event", onChange: (event) => change({ event }) }),
		action: choice("Action", { first: any, test: "filter-action", onChange: (action) => change({ action }) }),
	};
	let catalogue = [];
	const drawEvents = () => {
		const shownSources = catalogue.filter((one) => !filters.source || one.source === filters.source);
		named.event.know(shownSources.map((one) => ({ name: shownSources.length > 1 ? one.source : "", words: one.events.map((event) => event.name) })));
	};

	const controls = {
		text: el("input", { type: "search", placeholder: "Search in events and answers", autocomplete: "off", spellcheck: "false", "aria-label": "Search text in events, reasons, errors and answers", ...on("text") }),
		// A duplicate has the verdict of the event that it repeats; none can be asked for.
		verdict: select([["", "any"], ...Object.entries(verdicts).filter(([value]) => value !== "duplicate").map(([value, kind]) => [value, kind.word])], "", on("verdict")),
		state: select([["", "any"], ...Object.keys(states).map((value) => [value, value])], "", on("state")),
		tenant: el("input", { type: "text", placeholder: "any", autocomplete: "off", spellcheck: "false", ...on("tenant") }),
		from: el("input", { type: "datetime-local", step: "60", onchange: (event) => change({ since: event.target.value.replace("T", " ") }), test: "filter-from" }),
		until: el("input", { type: "datetime-local", step: "60", onchange: (event) => change({ until: event.target.value.replace("T", " ") }), test: "filter-until" }),
	};
	const range = select([...ranges, ["custom", "from … until …"]], "", {
		test: "filter-range",
		onchange: () => {
			if (range.value !== "custom") {
				change({ since: range.value, until: "" });
				return;
			}
			const dayAgo = new Date(Date.now() - 86_400_000);
			change({ since: forInput(dayAgo).replace("T", " "), until: "" });
			controls.from.focus();
		},
	});
	const exact = el("div.exact", labelled("From", controls.from), labelled("Until", controls.until));
	// On a wide screen there is room for all of them, unless they were folded there;
	// on a phone they open when asked for.
	const wide = matchMedia("(min-width: 60rem)");
	const summary = el("span", "Filters");
	const more = el("details.more-filters", { test: "more-filters" }, el("summary", { onclick: () => wide.matches && keepFolded(more.open) }, summary),
		el("div.filter-grid",
			labelled("Time", range), exact,
			labelled("Verdict", controls.verdict), labelled("Delivery state", controls.state),
			named.source.node, named.event.node, named.action.node,
			labelled("Tenant", controls.tenant)));
	const fit = () => { more.open = wide.matches && !isFolded(); };
	wide.addEventListener("change", fit);
	fit();

	const chips = el("ul.chips", { "aria-label": "Filters that are set", test: "chips" });
	const node = el("form.filters", { role: "search", "aria-label": "Activity", onsubmit: (event) => event.preventDefault() },
		el("div.search", icon("search"), controls.text, el("kbd", { "aria-hidden": "true" }, "/")), more, chips);

	const drawChips = () => {
		const set = Object.entries(filters);
		fill(chips, set.map(([key, value]) => el("li", button(
			[el("span", `${names[key]}: `), el("bdi", key === "since" || key === "until" ? momentWords(value) : visible(value)), icon("close")],
			() => {
				change({ [key]: "" });
				(chips.querySelector("button") ?? controls.text).focus();
			},
			{ class: "chip", test: `chip-${key}`, "aria-label": `Remove the filter ${names[key]} ${visible(value)}` }))),
		set.length > 1 ? el("li", button("Clear all", () => {
			change(Object.fromEntries(filterKeys.map((key) => [key, ""])));
			controls.text.focus();
		}, { class: "link", test: "clear-filters" })) : null);
		chips.hidden = set.length === 0;
		summary.textContent = set.length ? `Filters (${set.length} set)` : "Filters";
	};

	return {
		node,
		set(next) {
			filters = pick(next);
			for (const [key, control] of Object.entries(controls)) {
				if (key !== "from" && key !== "until" && document.activeElement !== control) control.value = filters[key] ?? "";
			}
			for (const [key, control] of Object.entries(named)) control.value = filters[key] ?? "";
			drawEvents();
			const quick = !filters.until && ranges.some(([value]) => value === (filters.since ?? ""));
			range.value = quick ? filters.since ?? "" : "custom";
			exact.hidden = quick;
			for (const [key, control] of [["since", controls.from], ["until", controls.until]]) {
				const at = parse(moment(filters[key]));
				control.value = at ? forInput(at) : "";
			}
			drawChips();
		},
		async suggest() {
			const [known, actions] = await Promise.all([get("catalogue"), get("actions")]);
			catalogue = known;
			named.source.know([{ words: catalogue.map((source) => source.source) }]);
			named.action.know([{ words: actions.map((action) => action.name) }]);
			drawEvents();
		},
		// complain marks the filter that the server could not read.
		complain(field) {
			for (const [key, control] of Object.entries({ ...controls, since: controls.from })) {
				if (key === field) control.setAttribute("aria-invalid", "true");
				else control.removeAttribute("aria-invalid");
			}
			for (const [key, control] of Object.entries(named)) control.marks(key === field);
		},
	};
}

function momentWords(value) {
	const known = ranges.find(([range]) => range === value);
	if (known) return known[1];
	const at = parse(value);
	return at && /T/.test(value) ? forInput(at).replace("T", " ") : visible(value);
}

// Whether the filters are folded on a wide screen is kept in the browser.
const foldedKey = "event-relay-filters-folded";

function isFolded() {
	try {
		return localStorage.getItem(foldedKey) === "yes";
	} catch {
		return false;
	}
}

function keepFolded(folded) {
	try {
		if (folded) localStorage.setItem(foldedKey, "yes");
		else localStorage.removeItem(foldedKey);
	} catch {
		// A browser that keeps nothing forgets it.
	}
}
