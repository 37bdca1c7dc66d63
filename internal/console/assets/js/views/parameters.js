// The parameters: what templates and rules can name.
import { el } from "../dom.js";
import { icon } from "../icons.js";
import { get } from "../api.js";
import { shown, mono } from "../shown.js";
import { tag } from "../copy.js";
import { listPage, matches, nothing } from "./page.js";

export function open(container) {
	const page = listPage(container, {
		title: "Parameters", view: "parameters", placeholder: "name, description, value, used by …",
		intro: "System parameters exist for every event; custom ones are configured. A click copies the tag for a template. Secrets are never shown.",
		load: () => get("parameters"),
		draw: (parameters, words) => {
			// Never look into secrets: a search that finds them would reveal them.
			const found = parameters.filter((parameter) => matches(words, parameter.name, parameter.kind, parameter.description, parameter.used_by, parameter.secret ? [] : [parameter.value, Object.keys(parameter.tenants ?? {}), Object.values(parameter.tenants ?? {})]));
			if (!found.length) return nothing(words, "parameter", [el("h2", "There are no parameters")]);
			const group = (kind, title) => {
				const list = found.filter((parameter) => parameter.kind === kind);
				return list.length ? el("section.panel", el("h2", `${title} (${list.length})`), el("div.scroll", { tabindex: "0", role: "group", "aria-label": title },
					el("table.plain.parameters", { test: `parameters-${kind}` }, el("caption.sr-only", title),
						el("thead", el("tr", ["Parameter", kind === "custom" ? "Value" : "Meaning", "Used by"].map((word) => el("th", { scope: "col" }, word)))),
						el("tbody", list.map(line))))) : null;
			};
			return [group("custom", "Custom"), group("system", "System")];
		},
	});
	return { title: "Parameters", close: page.close };
}

function line(parameter) {
	const tenants = Object.entries(parameter.tenants ?? {});
	const used = parameter.used_by ?? [];
	return el("tr", { test: "parameter", "data-name": parameter.name },
		el("td", tag(parameter.name)),
		el("td", parameter.description ? el("div", shown(parameter.description, 300)) : null,
			parameter.secret ? el("div", el("span.mark.tone-quiet", icon("barred"), "secret"), " ", el("code", "***"))
				: parameter.value ? mono(parameter.value, 300) : null,
			parameter.undefined ? el("div", el("span.mark.tone-warn", { test: "undefined" }, icon("warning"), "undefined"), " ", used.length ? "It is used and has no value yet." : "It has no value yet.") : null,
			tenants.length ? el("details", el("summary", `${tenants.length} of single tenants`), el("dl.values", tenants.map(([code, value]) => [el("dt", shown(code, 60)), el("dd", mono(parameter.secret ? "***" : value, 200))]))) : null),
		el("td", used.length ? el("ul.used", used.map((place) => el("li", mono(place, 120)))) : el("span.mark.tone-quiet", icon("dash"), "unused")));
}
