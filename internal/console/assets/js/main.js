// The frame: tabs, tools, banner, and the view that the address names.
import { el, fill, button } from "./dom.js";
import { icon } from "./icons.js";
import { read } from "./router.js";
import * as keys from "./keys.js";
import * as status from "./status.js";
import { themeButton } from "./theme.js";
import { showBanner } from "./banner.js";

// Each view is loaded when it is first looked at. A view's open(container,
// route) returns {title, update?, hide?, show?, close?, keys?}: update takes
// another address of the same view; a view with hide and show is kept while
// another is looked at. tab is the tab that it belongs to.
const views = {
	activity: { load: () => import("./views/activity.js"), tab: "activity" },
	event: { load: () => import("./views/event.js"), tab: "activity" },
	events: { load: () => import("./views/events.js"), tab: "events" },
	send: { load: () => import("./views/send.js"), tab: "events" },
	actions: { load: () => import("./views/actions.js"), tab: "actions" },
	import: { load: () => import("./views/import.js"), tab: "actions" },
	rehearse: { load: () => import("./views/rehearse.js"), tab: "rehearse" },
	parameters: { load: () => import("./views/parameters.js"), tab: "parameters" },
	charts: { load: () => import("./views/charts.js"), tab: "charts" },
	rejections: { load: () => import("./views/rejections.js"), tab: "rejections" },
	settings: { load: () => import("./views/settings.js"), tab: "settings" },
	snapshot: { load: () => import("./views/snapshot.js"), tab: "settings" },
};

const main = document.getElementById("main");
const kept = new Map();
let current = null; // {name, node, view, scroll}
let turn = 0;

async function show() {
	const route = read();
	const name = views[route.view] ? route.view : "activity";
	const mine = ++turn;
	if (current?.name === name && current.view.update) {
		current.view.update(route);
		entitle(current.view);
		return;
	}
	const first = current === null;
	leave();
	let next = kept.get(name);
	if (!next) {
		const node = el(`div.view.view-${name}`);
		let module;
		try {
			module = await views[name].load();
		} catch (error) {
			if (mine !== turn) return;
			fill(main, el("div.empty", { role: "alert" }, el("h1", "This view could not be loaded"), el("p", String(error.message)),
				button("Load the page again", () => location.reload(), { class: "primary" })));
			return;
		}
		// Another view was opened while it was loading.
		if (mine !== turn) return;
		main.querySelector(".empty")?.remove();
		main.append(node);
		next = { name, node, view: module.open(node, route), scroll: 0 };
	} else {
		next.node.hidden = false;
		next.view.show?.(route);
	}
	current = next;
	markTab(views[name].tab);
	entitle(next.view);
	keys.offer(next.view.keys);
	window.scrollTo(0, next.scroll);
	// Say where one has come to, except at the start: there the page is read
	// from its beginning.
	if (!first && !next.view.focusesItself) next.node.querySelector("h1")?.focus({ preventScroll: true });
}

function leave() {
	if (!current) return;
	keys.offer(null);
	if (current.view.hide) {
		current.scroll = window.scrollY;
		current.view.hide();
		current.node.hidden = true;
		kept.set(current.name, current);
	} else {
		current.view.close?.();
		current.node.remove();
	}
	current = null;
}

function entitle(view) {
	document.title = `${view.title} · Event Relay`;
}

function markTab(name) {
	for (const tab of document.querySelectorAll("#tabs a")) {
		const here = tab.dataset.view === name;
		if (here) {
			tab.setAttribute("aria-current", "page");
			bringIntoStrip(tab);
		} else tab.removeAttribute("aria-current");
	}
}

// markRefused puts on its tab how many requests of senders were refused lately.
function markRefused(refused) {
	const tab = document.querySelector('#tabs a[data-view="rejections"]');
	const count = refused.reduce((sum, line) => sum + line.recent, 0);
	const before = tab.querySelector(".badge");
	if (!count) return before?.remove();
	const text = count > 99 ? "99+" : String(count);
	if (before?.firstChild.textContent === text) return;
	before?.remove();
	tab.append(el("span.badge", { test: "refused-badge" }, el("span", { "aria-hidden": "true" }, text), el("span.sr-only", ` (${text} refused in the last hour)`)));
}

// bringIntoStrip scrolls the strip of tabs, which is wider than a phone, to a tab.
// With scrollIntoView, the Tab key of newer browsers goes on from there, and so past
// the link that skips the tabs.
function bringIntoStrip(tab) {
	const strip = document.getElementById("tabs");
	const at = tab.getBoundingClientRect(), room = strip.getBoundingClientRect();
	if (at.left < room.left) strip.scrollLeft += at.left - room.left;
	else if (at.right > room.right) strip.scrollLeft += at.right - room.right;
}

document.getElementById("skip").addEventListener("click", (event) => {
	event.preventDefault();
	main.focus();
});
window.addEventListener("hashchange", show);
window.addEventListener("titlechange", () => current && entitle(current.view));

fill(document.getElementById("tools"),
	button(icon("question"), keys.help, { class: "tool", "aria-label": "Keys", title: "Keys (?)", test: "keys" }),
	themeButton());
showBanner(document.getElementById("banner"));
status.onStatus((now) => markRefused(now?.refused ?? []));
keys.listen();
status.start();
show();
