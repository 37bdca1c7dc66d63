// The keyboard. Views offer what they can do; keys are taken only while no one
// is writing.
import { el, button } from "./dom.js";
import { openDialog } from "./dialogs.js";

const general = [
	["/", "go to the search"],
	["j  or  ↓", "next in the list"],
	["k  or  ↑", "previous in the list"],
	["Enter", "open it"],
	["x", "select it"],
	["Esc", "back, or close"],
	["r", "send again (an event)"],
	["1 … 7", "the views, from left to right"],
	["?", "these keys"],
];

let commands = {};

// offer sets what the view that is shown does with which key.
export function offer(view) {
	commands = view ?? {};
}

export function listen() {
	document.addEventListener("keydown", (event) => {
		if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
		if (document.querySelector("dialog[open]")) return;
		const writing = event.target.closest("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable]");
		if (writing) {
			if (event.key === "Escape") {
				// Browsers would empty a search field, and with it the list.
				event.preventDefault();
				writing.blur();
			}
			return;
		}
		// Arrows scroll boxes of code and tables that have the focus.
		if (event.key.startsWith("Arrow") && event.target.closest("pre, .scroll, [role=radiogroup], summary")) return;
		const name = { ArrowDown: "j", ArrowUp: "k" }[event.key] ?? event.key;
		if (name === "?") help();
		else if (/^[1-7]$/.test(name)) document.querySelectorAll("#tabs a")[name - 1]?.click();
		else if (commands[name]) {
			if (commands[name](event) === false) return;
		} else if (name === "/") {
			const search = document.querySelector("#main input[type=search]");
			if (!search) return;
			search.focus();
			search.select();
		} else return;
		event.preventDefault();
	});
}

export function help() {
	openDialog("Keys", (close) => [
		el("table.keys", el("caption.sr-only", "Keys and what they do"),
			el("thead.sr-only", el("tr", el("th", { scope: "col" }, "Key"), el("th", { scope: "col" }, "Does"))),
			el("tbody", general.map(([key, does]) => el("tr", el("th", { scope: "row" }, el("kbd", key)), el("td", does))))),
		el("div.actions", button("Close", close, { class: "primary" })),
	], { test: "keys-help" });
}
