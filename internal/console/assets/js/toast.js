// Short messages that something was done, or was not.
import { el, button } from "./dom.js";
import { icon } from "./icons.js";

export function toast(message, tone = "good", stay = tone === "bad" ? 12000 : 5000) {
	const box = document.getElementById("toasts");
	const node = el(`div.toast.tone-${tone}`, { test: "toast" },
		icon(tone === "bad" ? "warning" : "check"), el("span", message),
		button(icon("close"), () => node.remove(), { class: "plain-icon", "aria-label": "Dismiss" }));
	box.append(node);
	while (box.children.length > 4) box.firstChild.remove();
	setTimeout(() => node.remove(), stay);
}

export function failed(error) {
	if (error?.name === "AbortError") return;
	toast(error?.message ?? String(error), "bad");
}
