// What the views that show a list of the configuration have in common: a
// heading, a search, a place for errors, and reading again after a switch.
import { el, fill, button, labelled } from "../dom.js";
import { read, to, replace } from "../router.js";
import { changed } from "../switching.js";

// listPage builds such a view. load reads what is to be shown, draw(data, words)
// returns nodes; words are what is searched for, in lower case.
export function listPage(container, { title, view, intro, tools = [], placeholder, load, draw }) {
	let data = null;
	const problem = el("div", { role: "alert" });
	const result = el("div.results", { "aria-busy": "true" }, el("p.muted", "Reading …"));
	const search = placeholder ? el("input", { type: "search", placeholder, autocomplete: "off", spellcheck: "false", test: "search", value: read().query.q ?? "", oninput: () => {
		replace(to(view, read().parts, { ...read().query, q: search.value }));
		redraw();
	} }) : null;
	fill(container,
		el("div.view-head", el("h1", { tabindex: "-1" }, title), el("div.tools", tools)),
		intro ? el("p.intro", intro) : null,
		search ? el("div.search-line", labelled("Search", search)) : null,
		problem, result);

	const redraw = () => {
		if (data === null) return;
		const words = (search?.value ?? "").trim().toLowerCase().split(/\s+/).filter(Boolean);
		fill(result, draw(data, words));
		result.removeAttribute("aria-busy");
	};
	const again = async () => {
		try {
			data = await load();
			fill(problem);
			redraw();
		} catch (error) {
			fill(problem, el("div.problem", el("p", error.message), button("Try again", again, { class: "small" })));
			if (data === null) fill(result);
		}
	};
	changed.addEventListener("change", again);
	again();
	return { again, redraw, close: () => changed.removeEventListener("change", again) };
}

// matches says whether all words stand in one of the texts.
export function matches(words, ...texts) {
	const all = texts.flat(3).filter(Boolean).join("\n").toLowerCase();
	return words.every((word) => all.includes(word));
}

// nothing says that a search found nothing.
export function nothing(words, what, otherwise) {
	return el("div.empty", words.length ? [el("h2", `No ${what} matches`), el("p", "Try fewer words.")] : otherwise);
}
