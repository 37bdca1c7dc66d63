// The shapes of the page. Each state has a shape of its own, so that no colour
// needs to be distinguished.
const namespace = "http://www.w3.org/2000/svg";

// Paths on a 16 by 16 grid. Those in solid are filled, the others are lines.
const paths = {
	check: "M3 8.5l3.3 3.3L13 5",
	cross: "M4 4l8 8M12 4l-8 8",
	clock: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8M8 4.6V8l2.4 1.6",
	hourglass: "M4 2h8M4 14h8M5 2c0 4 6 4 6 6s-6 2-6 6M11 2c0 4-6 4-6 6",
	barred: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8M3.6 3.6l8.8 8.8",
	bolt: "M9 1.5L3.5 9H8l-1 5.5L12.5 7H8z",
	dash: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8M5 8h6",
	warning: "M8 2L1.6 13.4h12.8zM8 6.4v3.4M8 11.6v.2",
	power: "M8 1.6v6M4.6 3.9a5.3 5.3 0 1 0 6.8 0",
	copies: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
	pause: "M5.5 3v10M10.5 3v10",
	play: "M4.5 2.8v10.4L13 8z",
	flask: "M6 1.8h4M6.8 1.8v4.4L2.9 13a.9.9 0 0 0 .8 1.2h8.6a.9.9 0 0 0 .8-1.2L9.2 6.2V1.8M5 10h6",
	again: "M13.4 8A5.4 5.4 0 1 1 11.6 4M13.6 1.8v3.4h-3.4",
	question: "M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8M6.2 6.3c0-2.3 3.7-2.3 3.7 0 0 1.3-1.9 1.5-1.9 2.9M8 11.2v.2",
	unlink: "M6.5 9.5l3-3M7 4.5l1-1a3.2 3.2 0 0 1 4.5 4.5l-1 1M9 11.5l-1 1A3.2 3.2 0 0 1 3.5 8l1-1M2 2l12 12",
	search: "M7 2.2a4.8 4.8 0 1 0 0 9.6 4.8 4.8 0 0 0 0-9.6M10.5 10.5L14 14",
	sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M3 13l1-1M12 4l1-1",
	moon: "M13.2 9.6A5.8 5.8 0 0 1 6.4 2.8a5.8 5.8 0 1 0 6.8 6.8z",
	half: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2M8 2v12M8 4.5l4.4 0M8 7l5.8 0M8 9.5l5.6 0M8 12l4.2 0",
	down: "M8 2.5v10M3.8 8.6L8 12.8l4.2-4.2",
	left: "M10 3L5 8l5 5",
	right: "M6 3l5 5-5 5",
	arrow: "M2.5 8h11M9.3 3.8L13.5 8l-4.2 4.2",
	link: "M6.5 9.5l3-3M7 4.5l1-1a3.2 3.2 0 0 1 4.5 4.5l-1 1M9 11.5l-1 1A3.2 3.2 0 0 1 3.5 8l1-1",
	quiet: "M2.5 6v4h2.6L8.5 13V3L5.1 6zM11 6.2l3 3.6M14 6.2l-3 3.6",
	dot: "M8 5.2a2.8 2.8 0 1 0 0 5.6 2.8 2.8 0 0 0 0-5.6",
	close: "M4 4l8 8M12 4l-8 8",
	copy: "M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3",
	save: "M8 2v7.5M4.8 6.6L8 9.8l3.2-3.2M2.5 11v2.5h11V11",
};
const solid = new Set(["bolt", "play", "dot"]);

// icon makes a shape that screen readers pass over: a word stands beside it.
export function icon(name, extra = "") {
	const svg = document.createElementNS(namespace, "svg");
	svg.setAttribute("viewBox", "0 0 16 16");
	svg.setAttribute("class", `icon ${solid.has(name) ? "solid" : ""} ${extra}`.trim());
	svg.setAttribute("aria-hidden", "true");
	svg.setAttribute("focusable", "false");
	const path = document.createElementNS(namespace, "path");
	path.setAttribute("d", paths[name] ?? paths.dot);
	svg.append(path);
	return svg;
}
