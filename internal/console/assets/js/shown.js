// Shows text that came from outside. A sender can write anything
// into them: characters that turn the reading direction, that cannot be seen,
// or that imitate others, and lines without end. Here they become visible and
// stay within their box.
import { el, button } from "./dom.js";

// Controls, format characters (direction, joiners, byte order mark), halves of
// surrogate pairs, and all that is drawn as nothing. The variation selector of
// emoji is left alone.
const unseen = /(?![\n\t\uFE0F])[\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}\u2028\u2029\u2800]/gu;

const names = {
	0x00: "NUL", 0x07: "BEL", 0x08: "BS", 0x0d: "CR", 0x1b: "ESC", 0x7f: "DEL",
};

function codeName(character) {
	const code = character.codePointAt(0);
	return `⟨${names[code] ?? "U+" + code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

// visible returns the text with all that cannot be seen spelled out, for places
// that take text only, such as titles and the clipboard's label.
export function visible(text) {
	return String(text).replaceAll("\r\n", "\n").replace(unseen, codeName);
}

// nodes returns the text as nodes, what cannot be seen marked.
export function nodes(text) {
	const parts = [];
	let from = 0;
	text = String(text).replaceAll("\r\n", "\n");
	for (const found of text.matchAll(unseen)) {
		if (found.index > from) parts.push(text.slice(from, found.index));
		parts.push(el("span.unseen", { title: "A character that cannot be seen" }, codeName(found[0])));
		from = found.index + found[0].length;
	}
	if (from < text.length) parts.push(text.slice(from));
	return parts;
}

// shown makes a span with text from outside, on one line and at most `most`
// characters long; the whole is in its title.
export function shown(text, most = 240, tag = "span.shown") {
	text = String(text ?? "");
	const cut = text.length > most;
	const short = (cut ? text.slice(0, most) : text).replace(/[\n\t]+/g, " ");
	return el(tag, { dir: "auto", title: cut ? visible(text.slice(0, 2000)) : null }, nodes(short), cut ? "…" : null);
}

// mono is shown, for ids, paths and code.
export function mono(text, most = 240) {
	return shown(text, most, "code.shown");
}

// long shows text over several lines, cut when it is long, with a button for
// the rest.
export function long(text, most = 600) {
	text = String(text ?? "");
	const box = el("span.shown.lines", { dir: "auto" }, nodes(text.slice(0, most)));
	if (text.length <= most) return box;
	const more = button(`Show all (${text.length.toLocaleString("en")} characters)`, () => {
		box.replaceChildren(...nodes(text));
	}, { class: "link" });
	box.append("… ", more);
	return box;
}
