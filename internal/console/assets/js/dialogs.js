// Dialogs, on the browser's own: it keeps the focus inside, closes on Escape,
// and gives the focus back.
import { el, fill, button, uid } from "./dom.js";
import { icon } from "./icons.js";

// openDialog shows what build returns. build gets a function that closes it.
export function openDialog(title, build, { test, wide, onclose } = {}) {
	const id = uid("dialog");
	const node = el(wide ? "dialog.wide" : "dialog", { "aria-labelledby": id, test });
	const close = () => node.close();
	const body = el("div.dialog-body");
	node.append(
		el("div.dialog-head", el("h2", { id }, title),
			button(icon("close"), close, { class: "plain-icon", "aria-label": "Close" })),
		body);
	node.addEventListener("close", () => {
		node.remove();
		onclose?.();
	});
	// A click beside the dialog closes it; one that began inside does not.
	node.addEventListener("mousedown", (event) => {
		if (event.target === node) close();
	});
	document.body.append(node);
	fill(body, ...[build(close, body)].flat());
	node.showModal();
	body.querySelector("[autofocus]")?.focus();
	return { node, body, close };
}

// confirmed asks before something is done, and resolves to whether it should be.
export function confirmed(title, text, label, { danger } = {}) {
	return new Promise((resolve) => {
		let answer = false;
		openDialog(title, (close) => [
			el("div.prose", [text].flat().map((part) => part instanceof Node ? part : el("p", part))),
			el("div.actions",
				button("Cancel", close),
				button(label, () => {
					answer = true;
					close();
				}, { class: danger ? "danger" : "primary", test: "confirm", autofocus: true })),
		], { test: "confirm-dialog", onclose: () => resolve(answer) });
	});
}
