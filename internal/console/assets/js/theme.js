// Light, dark, or as the system says; theme_early.js applies it at the next
// visit.
import { button, fill } from "./dom.js";
import { icon } from "./icons.js";

const order = ["system", "light", "dark"];
const shapes = { system: "half", light: "sun", dark: "moon" };

export function themeButton() {
	const node = button("", () => {
		const next = order[(order.indexOf(current()) + 1) % order.length];
		if (next === "system") delete document.documentElement.dataset.theme;
		else document.documentElement.dataset.theme = next;
		try {
			if (next === "system") localStorage.removeItem("event-relay-theme");
			else localStorage.setItem("event-relay-theme", next);
		} catch {
			// Storage is forbidden: it holds until the page is left.
		}
		show();
		window.dispatchEvent(new Event("themechange"));
	}, { class: "tool", test: "theme" });
	const show = () => {
		fill(node, icon(shapes[current()]));
		node.setAttribute("aria-label", `Colours: ${current()}. Change`);
		node.title = `Colours: ${current()}`;
	};
	show();
	return node;
}

function current() {
	return document.documentElement.dataset.theme ?? "system";
}
