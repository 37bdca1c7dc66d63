// The request of an event, as it came but for its credentials, and what was
// read from it.
import { el, fill } from "../dom.js";
import { code, binary } from "../code.js";
import { shown, mono, long } from "../shown.js";
import { tag } from "../copy.js";
import { pretty, leaves } from "../json.js";

export function requestSection(detail) {
	const request = detail.request ?? {};
	return el("section.panel", { "aria-labelledby": "request-title", test: "request" },
		el("h2", { id: "request-title" }, "Request"),
		el("p.request-line", mono(request.method, 20), " ", mono(request.path, 400), request.ip ? [el("span.muted", " from "), mono(request.ip)] : null),
		detail.parse_error ? el("p.problem", el("strong", "The body is not well-formed: "), long(detail.parse_error, 600), " What could be read of it was read.") : null,
		(detail.notes ?? []).map((note) => el("p.problem", long(note, 600))),
		pairs("Query", request.query),
		pairs("Headers", request.headers),
		body(request));
}

function pairs(title, values) {
	const entries = Object.entries(values ?? {});
	if (!entries.length) return null;
	return el("details.pairs", { open: entries.length <= 12 }, el("summary", `${title} (${entries.length})`),
		el("dl.values", entries.map(([name, list]) => [el("dt", shown(name, 120)), el("dd", [list].flat().map((value) => el("div", long(value, 300))))])));
}

function body(request) {
	if (request.body_base64) return binary(request.body_base64);
	if (!request.body) return el("p.muted", "There was no body.");
	const indented = pretty(request.body);
	if (indented === null || indented === request.body) return code(request.body, { title: "Body", test: "body" });
	const box = el("div");
	const draw = (how) => fill(box, code(how === "raw" ? request.body : indented, { title: "Body", tools: [toggle], test: "body" }));
	const toggle = el("fieldset.segments.small", el("legend.sr-only", "How the body is shown"),
		[["pretty", "Indented"], ["raw", "As it came"]].map(([value, text]) => el("label", el("input", { type: "radio", name: "body-as", value, checked: value === "pretty", onchange: (event) => {
			draw(value);
			event.target.focus();
		} }), el("span", text))));
	draw("pretty");
	return box;
}

// valuesSection lists what templates and rules can use of this event; a click
// copies the tag.
export function valuesSection(detail) {
	const parameters = Object.entries(detail.parameters ?? {});
	const fields = Object.entries(detail.fields ?? {});
	const inBody = detail.request?.body ? leaves(detail.request.body) : [];
	const query = Object.entries(detail.request?.query ?? {}).map(([name, list]) => [/^[A-Za-z_]\w*$/.test(name) ? `query.${name}` : `query[${JSON.stringify(name)}]`, [list].flat()[0]]);
	const group = (title, list, open = true) => list.length ? el("details.pairs", { open: open && list.length <= 40 }, el("summary", `${title} (${list.length})`),
		el("dl.values.tags", list.map(([name, value]) => [el("dt", tag(name)), el("dd", value === "" ? el("span.muted", "empty") : long(typeof value === "object" && value !== null && !value.source ? JSON.stringify(value) : String(value), 200))]))) : null;
	const any = parameters.length + fields.length + inBody.length + query.length;
	return el("section.panel", { "aria-labelledby": "values-title", test: "values" },
		el("h2", { id: "values-title" }, "Values"),
		el("p.note", any ? "A click copies the tag for a template." : "The event has no values."),
		group("Parameters", parameters), group("Fields of the source", fields), group("In the query", query), group("In the body", inBody));
}

