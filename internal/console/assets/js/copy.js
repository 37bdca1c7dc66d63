// Copies text. The clipboard's own interface exists only where the page came
// over HTTPS or from this machine; on a LAN by HTTP the old command has to do.
import { el, button } from "./dom.js";
import { icon } from "./icons.js";
import { toast } from "./toast.js";
import { visible } from "./shown.js";

export async function copy(text, what = "") {
	const done = await write(text);
	if (done) toast(`Copied ${what || visible(text.length > 60 ? text.slice(0, 60) + "…" : text)}`);
	else toast("The browser does not allow copying here; select the text instead.", "bad");
}

async function write(text) {
	try {
		await navigator.clipboard.writeText(text);
		return true;
	} catch {
		const field = el("textarea.sr-only", { "aria-hidden": "true", tabindex: "-1" });
		field.value = text;
		// Within an open dialog, only what is in the dialog can be selected.
		(document.querySelector("dialog[open]") ?? document.body).append(field);
		const before = document.activeElement;
		field.select();
		const done = document.execCommand("copy");
		field.remove();
		before?.focus();
		return done;
	}
}

export function copyButton(text, label = "Copy", what = "") {
	return button([icon("copy"), el("span", label)], () => copy(typeof text === "function" ? text() : text, what), { class: "small" });
}

// tag is a name as a template has it, {{name}}, to be clicked and pasted.
export function tag(name) {
	return button(el("code", `{{${visible(name)}}}`), () => copy(`{{${name}}}`),
		{ class: "tag", title: `Copy {{${visible(name)}}}`, test: "copy-tag" });
}
