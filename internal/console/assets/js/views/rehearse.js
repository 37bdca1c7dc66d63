// Rehearse: a changed configuration or rule as text, tried on stored events. Nothing
// is stored or sent, and no file is changed: what comes out is text to copy.
import { el, fill, button, labelled, select } from "../dom.js";
import { icon } from "../icons.js";
import { get, post, postLong } from "../api.js";
import { code } from "../code.js";
import { editor } from "../editor.js";
import { difference } from "../difference.js";
import { mono, visible } from "../shown.js";
import { ranges, timeNode, medium } from "../times.js";
import { to, replace } from "../router.js";
import { confirmed } from "../dialogs.js";
import { plural } from "../words.js";
import { pick, asked } from "./filters.js";

// checkAfter is how long nothing must be typed until the text is checked, in
// milliseconds.
const checkAfter = 350;

const ruleName = (rule) => visible(`rule ${rule.number}: on ${rule.events.join(" ").slice(0, 60)}${rule.place ? ` (${rule.place})` : ""}`);

export function open(container, route) {
	let running = null; // the running configuration as text, with its rules
	let begunWith = ""; // the text before it was changed by hand
	let filters = {};
	let address = "";
	let checked = null; // what the last check said, null while the text is newer
	let checking = null, timer = 0, run = null;

	const begin = select([["", "the running configuration"]], "", { test: "rehearse-begin", onchange: () => restart(begin.value) });
	const stand = select([["", "behind all other rules"]], "", { test: "rehearse-stand", onchange: check });
	const standField = labelled("Its rules stand", stand, "Rules are read from top to bottom, and an ignore that holds ends the reading.");
	const range = select(ranges, "7d", { test: "rehearse-range", onchange: () => {
		filters = pick({ ...filters, since: range.value, until: "" });
		drawFilters();
	} });
	const others = el("ul.chips", { "aria-label": "Further filters", test: "rehearse-filters" });
	const box = editor("Text of the Caddyfile", { test: "rehearse-text", oninput: () => {
		checked = null;
		go.disabled = true;
		clearTimeout(timer);
		timer = setTimeout(check, checkAfter);
	} });
	const go = button([icon("play"), "Rehearse"], rehearse, { class: "primary", disabled: true, test: "rehearse-run" });
	const problem = el("div", { role: "alert" });
	const notes = el("div");
	const progress = el("div");
	const result = el("div");

	fill(container,
		el("div.view-head", el("h1", { tabindex: "-1" }, "Rehearse")),
		el("p.intro", "Change the configuration or one rule here, and see what it would have done with the events of the past. Nothing is stored or sent, and your Caddyfile stays as it is: at the end there is text to copy."),
		problem,
		el("section.panel.rehearse", { "aria-label": "What to rehearse" },
			el("div.two", labelled("Begin with", begin), standField),
			box.node, notes,
			el("div.two", labelled("Events of", range), others),
			el("div.actions", go), progress),
		result);

	// start reads the running configuration and begins with what the address says.
	async function start(next) {
		address = JSON.stringify(next.query);
		filters = pick({ since: "7d", ...next.query });
		drawFilters();
		try {
			running = await get("rehearse");
			fill(problem);
		} catch (error) {
			fill(problem, el("div.problem", el("p", error.message), button("Try again", () => start(next), { class: "small" })));
			return;
		}
		const named = running.rules.find((rule) => next.query.rule && (rule.place === next.query.rule || `rule ${rule.number}` === next.query.rule));
		const choices = running.rules.map((rule) => [String(rule.number), ruleName(rule)]);
		fill(begin, options([["", "the running configuration"], ...choices]));
		fill(stand, options([["", "behind all other rules"], ...choices.map(([value, text]) => [value, `in place of ${text}`])]));
		load(named ? String(named.number) : "");
	}

	const options = (choices) => choices.map(([value, text]) => el("option", { value }, text));

	// load puts the text of a rule, or of all, into the box.
	function load(number) {
		const rule = running.rules.find((one) => String(one.number) === number);
		begin.value = number;
		stand.value = number;
		begunWith = rule ? rule.text : running.text;
		box.text = begunWith;
		check();
	}

	async function restart(number) {
		const before = stand.value;
		if (box.text !== begunWith && !await confirmed("Begin anew?", "What you have changed in the text is lost.", "Begin anew", { danger: true })) {
			begin.value = before;
			return;
		}
		load(number);
	}

	function drawFilters() {
		range.value = !filters.until && ranges.some(([value]) => value === (filters.since ?? "")) ? filters.since ?? "" : "";
		const further = Object.entries(filters).filter(([key]) => key !== "since" || range.value !== filters.since);
		others.hidden = further.length === 0;
		fill(others, further.map(([key, value]) => el("li", button([el("span", `${key}: `), el("bdi", visible(value)), icon("close")], () => {
			const { [key]: _, ...rest } = filters;
			filters = rest;
			drawFilters();
			range.focus();
		}, { "aria-label": `Remove the filter ${key}: ${visible(value)}` }))));
	}

	const chosenRule = () => running.rules.find((rule) => String(rule.number) === stand.value);
	const asText = () => {
		const rule = chosenRule();
		return { text: box.text, ...(rule && !standField.hidden ? { replace: { number: rule.number, place: rule.place } } : {}) };
	};

	// check has the text checked: at once, and again when it was changed meanwhile.
	async function check() {
		clearTimeout(timer);
		checking?.abort();
		const mine = checking = new AbortController();
		checked = null;
		go.disabled = true;
		try {
			// Where the rules stand has no meaning for a whole configuration, and only the
			// check knows whether the text is one.
			let answer = await post("rehearse/check", { text: box.text }, { signal: mine.signal });
			// Of a text with mistakes it is not known how many rules it has: the field stays
			// as it is, and nothing moves while one types.
			if (answer.whole || !answer.mistakes.length) standField.hidden = answer.whole || !answer.rules;
			if (!standField.hidden && stand.value) answer = await post("rehearse/check", asText(), { signal: mine.signal });
			if (mine !== checking) return;
			checked = answer;
			box.say(kind(answer), answer.mistakes);
			drawNotes(answer);
			go.disabled = answer.mistakes.length > 0 || run !== null;
		} catch (error) {
			if (error.name !== "AbortError" && mine === checking) box.say("", [{ text: error.message }]);
		}
	}

	function kind(answer) {
		if (answer.whole) return `No mistake. This is a whole configuration with ${plural(answer.rules, "rule")}.`;
		return `No mistake. This is a part that changes the running configuration: ${answer.rules ? plural(answer.rules, "rule") : "no rule"}${answer.rules ? `, ${stand.selectedOptions[0].textContent}` : ""}.`;
	}

	function drawNotes(answer) {
		fill(notes,
			answer.whole && running.masked ? el("p.note", { test: "rehearse-masked" }, "Secrets that stand in your Caddyfile itself are *** here. Keep those lines of your file as they are.") : null,
			running.missing ? el("p.note", running.missing) : null);
	}

	async function rehearse() {
		// What was typed last may not be checked yet.
		if (!checked) await check();
		if (!checked || checked.mistakes.length || run) return;
		const asked_ = { ...asText(), filter: asked(filters) };
		const abort = run = new AbortController();
		const bar = el("progress", { "aria-label": "Rehearsal" });
		const words = el("p", { role: "status", test: "rehearse-progress" }, "Looking for the events …");
		const cancel = button("Cancel", () => abort.abort(), { test: "rehearse-cancel" });
		go.disabled = true;
		fill(problem);
		fill(result);
		fill(progress, words, bar, el("div.actions", cancel));
		cancel.focus();
		try {
			const found = await postLong("rehearse", asked_, ({ done, total }) => {
				if (!total) return;
				bar.max = total;
				bar.value = done;
				words.textContent = `${done.toLocaleString("en")} of ${total.toLocaleString("en")} events`;
			}, abort.signal);
			fill(progress);
			drawResult(found, asked_);
		} catch (error) {
			const cancelled = error.name === "AbortError";
			fill(progress, cancelled ? el("p", { role: "status", test: "rehearse-cancelled" }, "The rehearsal was cancelled. Nothing was stored or sent.") : null);
			if (!cancelled) fill(problem, el("div.problem", { test: "rehearse-problem" }, el("p", error.message)));
		} finally {
			run = null;
			go.disabled = !checked || checked.mistakes.length > 0;
			if (!result.childNodes.length) go.focus();
		}
	}

	function drawResult(found, tried) {
		const heading = el("h2", { tabindex: "-1" }, "What would change");
		const line = (rule) => {
			const number = /^rehearsal:(\d+)$/.exec(rule)?.[1];
			return number ? button(`line ${number}`, () => box.goTo(Number(number)), { class: "link" }) : mono(rule, 80);
		};
		const put = tried.replace ? ["Put it in place of ", chosenRule() ? ruleName(chosenRule()) : "the rule", ", and reload."]
			: checked?.whole ? ["Put it in place of the ", el("code", "event_relay"), " block of your Caddyfile, and reload. Comments and imports of your file are not in it: to keep them, copy only what you have changed."]
				: ["Put it into the ", el("code", "event_relay"), " block of your Caddyfile, its rules behind the others, and reload."];
		fill(result,
			el("section.panel", { test: "rehearse-result", "aria-labelledby": (heading.id = "rehearse-result-title") },
				heading,
				found.events === 0 ? el("p", "No event fits: choose a longer time, or fewer filters.")
					: el("p", { test: "rehearse-summary" }, el("strong", plural(found.events, "event")), ", received from ", timeNode(found.oldest, medium), " to ", timeNode(found.newest, medium), ": ",
						found.changed ? `${found.changed.toLocaleString("en")} would be decided otherwise than then.` : "all would be decided as they were then."),
				found.cut === "events" ? el("p.note.tone-warn", icon("warning"), " These are the newest of the events; a rehearsal looks at no more of them at once. For older ones choose a time in the past.") : null,
				found.cut === "time" ? el("p.note.tone-warn", icon("warning"), " The time was over before all events were looked at. Choose a shorter time, or more filters.") : null,
				difference(found, line)),
			el("section.panel", { "aria-label": "Text to copy" },
				el("h2", "The text"), el("p", put), code(tried.text, { title: "Caddyfile", test: "rehearse-copy", wrap: false }),
				el("p.note", "After the reload, the same change can be made for the events of the past: choose them in the ", el("a", { href: to("activity", [], filters) }, "Activity"), " and ", el("em", "Decide all again"), ".")));
		heading.focus({ preventScroll: true });
		heading.scrollIntoView({ block: "start" });
	}

	start(route);
	return {
		title: "Rehearse",
		update: arrive,
		// Kept while another view is looked at, so that one can look at an event and come
		// back to the text.
		hide() {},
		show: arrive,
		close() {
			run?.abort();
			checking?.abort();
		},
	};

	async function arrive(next) {
		if (JSON.stringify(next.query) === address || !Object.keys(next.query).length) return;
		if (box.text !== begunWith && !await confirmed("Begin anew?", "What you have changed in the text is lost.", "Begin anew", { danger: true })) {
			replace(to("rehearse", [], JSON.parse(address || "{}")));
			return;
		}
		run?.abort();
		fill(result);
		start(next);
	}
}
