// Draws one chart on uPlot, with a legend in words and a table that says the
// same.
import { el, fill, uid } from "../dom.js";
import { icon } from "../icons.js";
import { shown } from "../shown.js";
import { short, clock, date } from "../times.js";

let loading = null;

// loadPlot loads uPlot, which is a plain script, when the first chart is drawn.
export function loadPlot() {
	loading ??= new Promise((resolve, reject) => {
		const script = el("script", { src: new URL("vendor/uplot/uPlot.iife.min.js", document.baseURI) });
		script.addEventListener("load", () => resolve(window.uPlot));
		script.addEventListener("error", () => reject(new Error("The charts could not be loaded.")));
		document.head.append(script);
	});
	return loading;
}

// colour works out a colour of the style sheet: canvases know no variables.
export function colour(name) {
	const probe = el("i", { class: `probe probe-${name}` });
	document.body.append(probe);
	const found = getComputedStyle(probe).color;
	probe.remove();
	return found;
}

// Lines differ by dashes too, not by colour alone.
export const dashes = [[], [8, 4], [2, 3], [10, 3, 2, 3], [4, 4], [14, 4], [1, 5], [6, 2, 1, 2, 1, 2]];

// chart makes a panel. series are {name, tone, dash, values, kind}; stacked ones
// are drawn on top of each other. With decades, which
// are where its lines are drawn, the scale is logarithmic: nothing on it is 0, and
// the usual stays legible beside the exceptional.
export function chart({ title, summary, times, step, series, stacked = false, decades, format, incrs, marks, shades, test, onRange }) {
	const heading = uid("chart");
	const plot = el("div.plot", { role: "img", "aria-label": `${title}. ${summary} The same as a table below.` });
	const values = series.map(() => el("span.legend-value"));
	const legend = el("ul.legend", series.map((one, i) => el("li", swatch(one, stacked), el("span", shown(one.name, 60)), values[i])));
	const at = el("span.legend-time.muted");
	const node = el("section.panel.chart", { "aria-labelledby": heading, test },
		el("div.panel-head", el("h2", { id: heading }, title), el("p.muted", summary)),
		el("div.legend-line", legend, at), plot, series.length ? asTable(title, times, series, format) : null);
	let drawn = null;

	const sums = (visible) => {
		// The uppermost first, so that the lower ones are painted over it.
		const total = times.map(() => 0);
		return visible.map((one) => one.values.map((value, i) => (total[i] += value ?? 0)));
	};
	const draw = (uPlot) => {
		if (!series.length) {
			fill(plot, el("p.nothing.muted", summary));
			return;
		}
		const stack = stacked ? sums(series).reverse() : series.map((one) => one.values);
		const order = stacked ? [...series].reverse() : series;
		const axis = colour("muted");
		const grid = colour("line");
		const options = {
			width: plot.clientWidth || 600, height: 190,
			legend: { show: false },
			cursor: { sync: { key: "relay" }, y: false, drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
			scales: { x: { time: true }, y: decades ? { distr: 3, range: (_, low, high) => [(low ?? 1) / 1.5, (high ?? 1000) * 1.5] } : { range: (_, low, high) => [0, Math.max(high ?? 0, stacked || !format ? 1 : 0.001) * 1.08] } },
			axes: [
				{ stroke: axis, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: "12px system-ui, sans-serif", values: (_, splits, __, ___, gap) => splits.map((t) => tick(t, gap)), space: 74, size: 32 },
				{ stroke: axis, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif", size: (_, texts) => 14 + 7 * Math.max(3, ...(texts ?? []).map((text) => text.length)), values: (_, splits) => splits.map((v) => (v ? format(v) : "0")), ...(incrs ? { incrs } : {}),
					...(decades ? { splits: (_, __, low, high) => decades.filter((v) => v >= low && v <= high), filter: (_, splits) => splits } : {}) },
			],
			series: [{}, ...order.map((one) => ({
				stroke: colour(one.tone), width: stacked ? 1 : 1.75, dash: stacked ? undefined : one.dash, spanGaps: false,
				fill: stacked ? colour(one.tone) : undefined, points: { show: !stacked && (decades || one.values.filter((v) => v !== null).length < 40), size: 3, fill: colour(one.tone) },
				paths: stacked ? uPlot.paths.stepped({ align: 1 }) : undefined,
			}))],
			hooks: {
				drawClear: [(u) => drawShades(u, shades)],
				draw: [(u) => drawMarks(u, marks)],
				setCursor: [(u) => show(u.cursor.idx)],
				setSelect: [(u) => {
					if (u.select.width < 8) return;
					const from = u.posToVal(u.select.left, "x");
					const until = u.posToVal(u.select.left + u.select.width, "x");
					u.setSelect({ width: 0, height: 0 }, false);
					onRange?.(new Date(from * 1000), new Date(until * 1000));
				}],
			},
		};
		drawn?.destroy();
		fill(plot);
		drawn = new uPlot(options, [times, ...stack], plot);
	};
	const show = (idx) => {
		const known = idx !== null && idx !== undefined;
		at.textContent = known ? `${short(new Date(times[idx] * 1000))} and ${step} s on` : "";
		series.forEach((one, i) => { values[i].textContent = known ? format(one.values[idx] ?? 0) : ""; });
	};
	const resize = new ResizeObserver(() => drawn && plot.clientWidth && drawn.width !== plot.clientWidth && drawn.setSize({ width: plot.clientWidth, height: 190 }));
	resize.observe(plot);
	return {
		node, draw,
		close() {
			resize.disconnect();
			drawn?.destroy();
		},
	};
}

function tick(seconds, gap) {
	const at = new Date(seconds * 1000);
	if (gap >= 86400) return date(at).slice(5);
	return at.getHours() === 0 && at.getMinutes() === 0 ? date(at).slice(5) : clock(at).slice(0, gap >= 60 ? 5 : 8);
}

// swatch shows a series' colour and dashes beside its name.
function swatch(one, filled) {
	const namespace = "http://www.w3.org/2000/svg";
	const svg = document.createElementNS(namespace, "svg");
	svg.setAttribute("class", `swatch probe-${one.tone}`);
	svg.setAttribute("viewBox", "0 0 26 12");
	svg.setAttribute("aria-hidden", "true");
	const shape = document.createElementNS(namespace, filled ? "rect" : "path");
	if (filled) {
		for (const [name, value] of [["x", 5], ["y", 0], ["width", 12], ["height", 12], ["rx", 2], ["fill", "currentColor"]]) shape.setAttribute(name, value);
	} else {
		shape.setAttribute("d", "M0 6h26");
		shape.setAttribute("stroke", "currentColor");
		shape.setAttribute("stroke-width", "2.4");
		if (one.dash?.length) shape.setAttribute("stroke-dasharray", one.dash.join(" "));
	}
	svg.append(shape);
	return svg;
}

function drawShades(u, shades) {
	const { ctx, bbox } = u;
	ctx.save();
	ctx.fillStyle = colour("shade");
	for (const [from, until] of shades ?? []) {
		const left = Math.max(bbox.left, u.valToPos(from, "x", true));
		const right = Math.min(bbox.left + bbox.width, u.valToPos(until, "x", true));
		if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
	}
	ctx.restore();
}

function drawMarks(u, marks) {
	const { ctx, bbox } = u;
	const scale = devicePixelRatio;
	ctx.save();
	ctx.strokeStyle = ctx.fillStyle = colour("mark");
	ctx.lineWidth = scale;
	ctx.font = `600 ${11 * scale}px system-ui, sans-serif`;
	ctx.textAlign = "center";
	ctx.setLineDash([3 * scale, 3 * scale]);
	// Marks that stand close together share one line and one place for their
	// letters; a group whose letters would overlap the last ones has none.
	const groups = [];
	for (const mark of marks ?? []) {
		const x = Math.round(u.valToPos(mark.at, "x", true));
		if (x < bbox.left || x > bbox.left + bbox.width) continue;
		const last = groups.at(-1);
		if (last && x - last.x < 5 * scale) {
			if (!last.letters.includes(mark.letter)) last.letters += mark.letter;
		} else groups.push({ x, letters: mark.letter });
	}
	let free = bbox.left;
	for (const { x, letters } of groups) {
		ctx.beginPath();
		ctx.moveTo(x, bbox.top + 14 * scale);
		ctx.lineTo(x, bbox.top + bbox.height);
		ctx.stroke();
		const half = ctx.measureText(letters).width / 2;
		const at = Math.min(Math.max(x, bbox.left + half), bbox.left + bbox.width - half);
		if (at - half < free) continue;
		ctx.fillText(letters, at, bbox.top + 10 * scale);
		free = at + half + 3 * scale;
	}
	ctx.restore();
}

function asTable(title, times, series, format) {
	const box = el("div");
	const details = el("details.as-table", { test: "chart-table", ontoggle: () => {
		if (!details.open || box.childNodes.length) return;
		// Steps in which nothing happened say nothing.
		const rows = times.map((at, i) => [at, i]).filter(([, i]) => series.some((one) => one.values[i])).slice(-400).reverse();
		fill(box, rows.length ? el("div.scroll", { tabindex: "0", role: "group", "aria-label": `${title}, as a table` }, el("table.plain.numbers", el("caption.sr-only", title),
			el("thead", el("tr", el("th", { scope: "col" }, "From"), series.map((one) => el("th", { scope: "col" }, shown(one.name, 60))))),
			el("tbody", rows.map(([at, i]) => el("tr", el("th", { scope: "row" }, short(new Date(at * 1000))), series.map((one) => el("td", one.values[i] === null ? "" : format(one.values[i] ?? 0)))))))) : el("p.muted", "Nothing happened in this time."));
	} }, el("summary", icon("right", "turn"), "As a table"), box);
	return details;
}
