// A box for requests, answers, bodies and configuration: it scrolls within
// itself, can be copied, and shows the beginning of what is long.
import { el, fill, button } from "./dom.js";
import { nodes } from "./shown.js";
import { copyButton } from "./copy.js";
import { bytes } from "./words.js";

const most = 12_000;

// code shows text. A title stands above; tools are further buttons.
export function code(text, { title, tools = [], test, copy = true, wrap = true } = {}) {
	text = String(text ?? "");
	const pre = el("pre", { tabindex: "0", dir: "auto", role: "group", "aria-label": title ?? "Text", class: wrap ? null : "unwrapped" });
	const draw = (all) => fill(pre, nodes(all ? text : text.slice(0, most)));
	draw(false);
	const foot = el("div.code-foot");
	if (text.length > most) {
		foot.append(`The first ${most.toLocaleString("en")} of ${text.length.toLocaleString("en")} characters. `,
			button(`Show all (${bytes(new Blob([text]).size)})`, () => {
				draw(true);
				foot.remove();
				pre.focus();
			}, { class: "link" }));
	}
	return el("div.code", { test },
		title || copy ? el("div.code-head", el("span.code-title", title ?? ""), tools, copy ? copyButton(() => text, "Copy", title?.toLowerCase()) : null) : null,
		pre,
		foot.childNodes.length ? foot : null);
}

// binary shows how large bytes are and how they begin.
export function binary(base64, title = "Body") {
	let raw;
	try {
		raw = atob(base64);
	} catch {
		raw = "";
	}
	const lines = [];
	for (let at = 0; at < Math.min(raw.length, 256); at += 16) {
		const row = [...raw.slice(at, at + 16)].map((character) => character.charCodeAt(0));
		lines.push(`${at.toString(16).padStart(4, "0")}  ${row.map((b) => b.toString(16).padStart(2, "0")).join(" ").padEnd(47)}  ` +
			row.map((b) => (b >= 32 && b < 127 ? String.fromCharCode(b) : ".")).join(""));
	}
	return code(lines.join("\n"), { title: `${title}: binary, ${bytes(raw.length)}${raw.length > 256 ? ", the first 256 bytes" : ""}`, copy: false, wrap: false });
}
