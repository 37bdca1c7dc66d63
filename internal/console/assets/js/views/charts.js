// What happened over time, and what the relay itself did meanwhile.
import { el, fill, button, labelled, table } from "../dom.js";
import { get } from "../api.js";
import { shown } from "../shown.js";
import { parse, timeNode, medium, forInput, moment, took, span } from "../times.js";
import { read, to, replace } from "../router.js";
import { verdicts, plural } from "../words.js";
import { status } from "../status.js";
import { loadPlot, chart, dashes } from "./chart.js";

const choices = [["1h", "1 h"], ["6h", "6 h"], ["24h", "24 h"], ["7d", "7 d"], ["30d", "30 d"], ["custom", "custom"]];
// What an axis of ages is divided by, so that it shows whole minutes, hours and
// days.
const roundAges = [1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 432000, 864000, 2592000];
// Where the lines of a logarithmic scale of times are drawn, in milliseconds.
const spans = [1, 10, 100, 1000, 10_000, 60_000, 600_000, 3_600_000, 36_000_000, 86_400_000, 864_000_000];
const ages = { h: 3600, d: 86400 };

// What an axis of counted things is divided by: none of them comes in halves.
const wholes = Array.from({ length: 12 }, (_, i) => [1, 2, 5].map((n) => n * 10 ** i)).flat();

// stepWords says how long a step is: a minute, 10 minutes, an hour.
function stepWords(seconds) {
	const [n, unit] = seconds % 3600 === 0 ? [seconds / 3600, "hour"] : [Math.round(seconds / 60), "minute"];
	return n === 1 ? unit : plural(n, unit);
}

// rangeWithData returns the choice that shows what there is: the shortest that
// holds all of the last day, else the shortest that reaches back to the newest.
async function rangeWithData() {
	const now = Date.now();
	const happened = (point) => Object.keys(point.events ?? {}).length || Object.keys(point.deliveries ?? {}).length || point.retries || Object.keys(point.backlog ?? {}).length;
	const within = (at) => choices.find(([value]) => value !== "custom" && now - at < seconds(value) * 1000)?.[0];
	for (const [range, n, wanted] of [["24h", 240, 0], ["30d", 720, -1]]) {
		const series = await get("series", { since: new Date(now - seconds(range) * 1000).toISOString(), until: new Date(now).toISOString(), n });
		const point = (series.points ?? []).filter(happened).at(wanted);
		// A step that began before the range is within it all the same.
		if (point) return within(new Date(point.at).getTime()) ?? range;
	}
	return "24h";
}

function seconds(age) {
	const [, n, unit] = /^(\d+)([hd])$/.exec(age);
	return n * ages[unit];
}

export function open(container) {
	let query = read().query;
	// The range that counts while the address names none.
	let usual = "";
	let charts = [];
	let timer = null;
	let turn = 0;
	const drawing = el("div.charts", { "aria-busy": "true" });
	const problem = el("div", { role: "alert" });
	const from = el("input", { type: "datetime-local", test: "chart-from", onchange: () => custom() });
	const until = el("input", { type: "datetime-local", test: "chart-until", onchange: () => custom() });
	const exact = el("div.exact", labelled("From", from), labelled("Until", until));
	const picker = el("fieldset.segments", { test: "chart-range" }, el("legend.sr-only", "Time"),
		choices.map(([value, text]) => el("label", el("input", { type: "radio", name: "range", value, onchange: () => {
			if (value === "custom") {
				const [since, end] = bounds();
				choose({ since: since.toISOString(), until: end.toISOString() });
				from.focus();
			} else choose({ since: value });
		} }), el("span", text))));
	const events = el("a.button.small", { href: to("activity") }, "Show the events of this time");
	fill(container, el("div.view-head", el("h1", { tabindex: "-1" }, "Charts"), picker), exact,
		el("div.list-tools", el("p.note", "Drag across a chart to look closer."), events), problem, drawing);

	function bounds() {
		const now = new Date();
		const end = parse(moment(query.until)) ?? now;
		const since = query.since ?? usual;
		const begin = /^\d+[hd]$/.test(since) ? new Date(end - seconds(since) * 1000) : parse(moment(query.since)) ?? new Date(end - 86_400_000);
		return [begin, end];
	}

	function custom() {
		const a = parse(from.value);
		const b = parse(until.value);
		if (a && b && a < b) choose({ since: a.toISOString(), until: b.toISOString() });
	}

	function choose(next) {
		query = next;
		replace(to("charts", [], query));
		load();
	}

	function drawPicker() {
		const value = query.until ? "custom" : choices.some(([choice]) => choice === (query.since ?? usual)) ? query.since ?? usual : "custom";
		for (const input of picker.querySelectorAll("input")) input.checked = input.value === value;
		exact.hidden = value !== "custom";
		const [begin, end] = bounds();
		if (document.activeElement !== from) from.value = forInput(begin);
		if (document.activeElement !== until) until.value = forInput(end);
		events.href = to("activity", [], query.until ? query : { since: query.since ?? usual });
	}

	async function load() {
		clearTimeout(timer);
		const mine = ++turn;
		try {
			if (!query.since && !query.until) usual ||= await rangeWithData();
			if (mine !== turn) return;
			drawPicker();
			const [begin, end] = bounds();
			const [uPlot, series] = await Promise.all([loadPlot(), get("series", { since: begin.toISOString(), until: end.toISOString(), n: innerWidth < 700 ? 90 : 240 })]);
			if (mine !== turn) return;
			fill(problem);
			draw(uPlot, series);
		} catch (error) {
			if (mine !== turn) return;
			fill(problem, el("div.problem", el("p", error.message), button("Try again", load, { class: "small" })));
		}
		drawing.removeAttribute("aria-busy");
		// A range that ends now moves on, once a minute and while it is looked at.
		if (!query.until) timer = setTimeout(() => (document.hidden ? null : load()), 60_000);
	}

	function draw(uPlot, series) {
		const opened = new Set(charts.filter((one) => one.node.querySelector("details")?.open).map((one) => one.node.dataset.test));
		charts.forEach((one) => one.close());
		const points = series.points ?? [];
		const times = points.map((point) => new Date(point.at).getTime() / 1000);
		const step = series.step_seconds ?? 60;
		const marks = marksOf(series.notes ?? []);
		const shades = shadesOf(series.notes ?? [], times[0], times.at(-1) + step);
		const shared = { times, step, marks, shades, onRange: (a, b) => choose({ since: a.toISOString(), until: b.toISOString() }) };
		const sum = (of) => points.reduce((total, point) => total + (of(point) ?? 0), 0);
		const count = (v) => (v ?? 0).toLocaleString("en");

		const decisions = [["action", "blue", ""], ["ignored", "grey", ""], ["rule_error", "red", ""], ["disabled", "amber", ""], ["duplicate", "violet", ""]];
		const outcomes = [["delivered", "blue"], ["failed", "red"], ["expired", "violet"], ["cancelled", "grey"], ["mended", "green"]];
		const retries = sum((point) => point.retries);
		const actions = [...new Set(points.flatMap((point) => Object.keys(point.backlog ?? {})))].sort();
		// More lines than these cannot be distinguished: the largest, by name.
		const largest = actions.map((name) => [name, Math.max(...points.map((point) => point.backlog?.[name]?.count ?? 0))]).sort((a, b) => b[1] - a[1]).slice(0, dashes.length).map(([name]) => name);
		const tones = ["blue", "amber", "green", "red", "violet", "sky", "grey", "ink"];
		const byAction = (of) => largest.map((name, i) => ({ name, tone: tones[i], dash: dashes[i], values: points.map((point) => of(point.backlog?.[name])) }));
		const known = points.filter((point) => point.p50_ms);

		charts = [
			chart({ ...shared, test: "chart-events", title: `Events per ${stepWords(step)}, by verdict`, stacked: true, format: count, incrs: wholes,
				summary: `${plural(sum((point) => Object.values(point.events ?? {}).reduce((a, b) => a + b, 0)), "event")} in this time.`,
				series: decisions.map(([key, tone]) => ({ name: verdicts[key].word, tone, values: points.map((point) => (point.events?.[key] ?? 0)) })) }),
			chart({ ...shared, test: "chart-deliveries", title: `Deliveries ended per ${stepWords(step)}, by outcome`, stacked: true, format: count, incrs: wholes,
				summary: `${plural(sum((point) => point.deliveries?.delivered), "delivery", "deliveries")} delivered, ${sum((point) => point.deliveries?.failed).toLocaleString("en")} failed, ${plural(retries, "retry", "retries")}.`,
				series: outcomes.map(([name, tone]) => ({ name, tone, values: points.map((point) => (point.deliveries?.[name] ?? 0)) })) }),
			chart({ ...shared, test: "chart-latency", title: "From receipt to delivered", decades: spans, format: (v) => took(v),
				summary: known.length ? `Median ${took(median(known.map((point) => point.p50_ms)))}, 99th percentile at most ${took(Math.max(...known.map((point) => point.p99_ms ?? 0)))}.` : "Nothing was delivered in this time.",
				series: [
					{ name: "median (p50)", tone: "blue", dash: [], values: points.map((point) => point.p50_ms || null) },
					{ name: "99th percentile (p99)", tone: "amber", dash: [8, 4], values: points.map((point) => point.p99_ms || null) },
				] }),
			chart({ ...shared, test: "chart-backlog", title: "Waiting deliveries, by action", format: count, incrs: wholes,
				summary: largest.length ? `${plural(actions.length, "action")} had deliveries waiting${actions.length > largest.length ? `; the ${largest.length} with the most are drawn` : ""}.` : "Nothing had to wait.",
				series: byAction((sample) => sample?.count ?? 0) }),
			chart({ ...shared, test: "chart-age", title: "Age of the oldest waiting delivery, by action", format: (v) => span(v ?? 0), incrs: roundAges,
				summary: largest.length ? `At most ${span(Math.max(...points.flatMap((point) => Object.values(point.backlog ?? {}).map((sample) => sample.age_seconds ?? 0))))}.` : "Nothing had to wait.",
				series: byAction((sample) => sample?.age_seconds ?? 0) }),
		];
		fill(drawing, charts.map((one) => one.node), notesPanel(series.notes ?? []));
		charts.forEach((one) => {
			one.draw(uPlot);
			if (opened.has(one.node.dataset.test)) one.node.querySelector("details").open = true;
		});
	}

	const again = () => charts.length && loadPlot().then((uPlot) => charts.forEach((one) => one.draw(uPlot)));
	const scheme = matchMedia("(prefers-color-scheme: dark)");
	const seen = () => !document.hidden && !query.until && load();
	window.addEventListener("themechange", again);
	scheme.addEventListener("change", again);
	document.addEventListener("visibilitychange", seen);
	load();
	return {
		title: "Charts",
		update(route) {
			query = route.query;
			load();
		},
		close() {
			clearTimeout(timer);
			turn++;
			charts.forEach((one) => one.close());
			window.removeEventListener("themechange", again);
			scheme.removeEventListener("change", again);
			document.removeEventListener("visibilitychange", seen);
		},
	};
}

function median(values) {
	const sorted = [...values].sort((a, b) => a - b);
	return sorted[Math.floor(sorted.length / 2)];
}

const kinds = {
	start: { letter: "R", word: "started" },
	stop: { letter: "R", word: "stopped" },
	switch: { letter: "S", word: "switched" },
	configuration: { letter: "C", word: "configuration loaded" },
};

// marksOf places a letter for each note; a stop and the start after it are one
// restart.
function marksOf(notes) {
	return notes.filter((note) => kinds[note.kind]).map((note) => ({ at: new Date(note.at).getTime() / 1000, letter: kinds[note.kind].letter })).sort((a, b) => a.at - b.at);
}

function switchOf(note) {
	try {
		return JSON.parse(note.text);
	} catch {
		return null;
	}
}

// shadesOf returns the times in which everything was switched off. What was
// turned before the chart begins shows in the first turn after it, or in what is
// off now.
function shadesOf(notes, begin, end) {
	const turns = notes.filter((note) => note.kind === "switch").map((note) => [new Date(note.at).getTime() / 1000, switchOf(note)])
		.filter(([, turned]) => turned?.kind === "all").sort((a, b) => a[0] - b[0]);
	const now = status()?.switches?.find((one) => one.kind === "all");
	const shades = [];
	let since = turns.length ? (turns[0][1].off ? null : begin) : now && new Date(now.since).getTime() / 1000 < begin ? begin : null;
	for (const [at, turned] of turns) {
		if (turned.off) since ??= at;
		else {
			if (since !== null) shades.push([since, at]);
			since = null;
		}
	}
	if (since !== null) shades.push([since, end]);
	return shades;
}

function notesPanel(notes) {
	if (!notes.length) return null;
	const sorted = [...notes].sort((a, b) => (a.at < b.at ? 1 : -1)).slice(0, 200);
	return el("section.panel.chart-notes", { test: "chart-notes" }, el("h2", "Marks in this time"),
		table("What the relay itself did", ["Mark", "When", "What"], sorted.map((note) => {
			const turned = note.kind === "switch" ? switchOf(note) : null;
			return el("tr", el("td", kinds[note.kind]?.letter ?? "?"), el("td", timeNode(note.at, medium)),
				el("td", turned ? (turned.off ? "switched off: " : "switched on: ") : `${kinds[note.kind]?.word ?? note.kind} `,
					note.kind === "configuration" ? [el("a", { href: to("snapshot", String(note.id)) }, "show it")] : shown(note.name || turned?.kind || "", 120),
					turned?.reason ? [" (", shown(turned.reason, 200), ")"] : null));
		})));
}
