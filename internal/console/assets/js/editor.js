// A box for text of a Caddyfile, with numbered lines. Lines with a mistake are marked,
// and the mistakes are listed below, each with a way to its line.
import { el, fill, button, uid } from "./dom.js";
import { long, mono } from "./shown.js";
import { plural } from "./words.js";

// mostLines bounds the numbers that are drawn.
const mostLines = 20_000;

// editor makes such a box. oninput is called when the text is changed by hand.
export function editor(label, { oninput, test }) {
	const id = uid("editor"), status = uid("mistakes");
	const lines = el("pre.editor-lines", { "aria-hidden": "true" });
	const area = el("textarea", { id, wrap: "off", spellcheck: "false", autocomplete: "off", autocapitalize: "off", dir: "ltr", "aria-describedby": status, test });
	const said = el("p.editor-status", { role: "status", test: "rehearse-status" });
	const list = el("ul.mistakes");
	let marked = new Set();
	const drawn = [];

	const number = () => {
		const count = Math.min(mostLines, area.value.split("\n").length);
		while (drawn.length < count) {
			const line = el("span", String(drawn.length + 1));
			drawn.push(line);
			lines.append(line);
		}
		while (drawn.length > count) drawn.pop().remove();
		drawn.forEach((line, i) => line.classList.toggle("is-bad", marked.has(i + 1)));
	};
	const follow = () => {
		lines.scrollTop = area.scrollTop;
	};
	area.addEventListener("scroll", follow);
	area.addEventListener("input", () => {
		number();
		oninput();
	});

	const goTo = (line) => {
		const all = area.value.split("\n");
		const from = all.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0);
		area.focus();
		area.setSelectionRange(from, from + (all[line - 1] ?? "").length);
		area.scrollTop = (line - 4) * parseFloat(getComputedStyle(area).lineHeight);
		area.scrollLeft = 0;
		area.scrollIntoView({ block: "nearest" });
	};

	return {
		node: el("div.field", el("label", { for: id }, label), el("div.editor", lines, area), el("div", { id: status }, said, list)),
		goTo,
		get text() {
			return area.value;
		},
		set text(text) {
			area.value = text;
			marked = new Set();
			number();
			area.scrollTop = 0;
		},
		// say shows what a check found: mistakes with {line, place, text}, or none.
		say(words, mistakes = []) {
			marked = new Set(mistakes.map((mistake) => mistake.line));
			number();
			if (mistakes.length) area.setAttribute("aria-invalid", "true");
			else area.removeAttribute("aria-invalid");
			fill(said, mistakes.length ? `${plural(mistakes.length, "mistake")}:` : words);
			said.classList.toggle("tone-bad", mistakes.length > 0);
			fill(list, mistakes.map((mistake) => el("li", { test: "mistake" },
				mistake.line ? [button(`Line ${mistake.line}`, () => goTo(mistake.line), { class: "link" }), ": "] : mistake.place ? [mono(mistake.place, 80), ": "] : null,
				long(mistake.text, 600))));
		},
	};
}
