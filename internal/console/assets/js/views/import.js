// Import from Postman: choose a collection, choose its requests, and get text
// for the Caddyfile. Nothing is changed here.
import { el, fill, button, labelled } from "../dom.js";
import { icon } from "../icons.js";
import { post } from "../api.js";
import { code } from "../code.js";
import { shown, mono, long } from "../shown.js";
import { to } from "../router.js";
import { plural } from "../words.js";

const largest = 16 * 1024 * 1024;

// decode reads a file as UTF-8, or as UTF-16, which PowerShell writes. A byte
// order mark says which, or the zero byte beside the brace that a collection
// begins with.
function decode(buffer) {
	const [first, second] = new Uint8Array(buffer);
	let name = "utf-8";
	if (first === 0xff && second === 0xfe || first && second === 0) name = "utf-16le";
	if (first === 0xfe && second === 0xff || first === 0 && second) name = "utf-16be";
	return new TextDecoder(name).decode(buffer);
}

export function open(container) {
	let collection = "";
	let environment = "";
	const list = el("div");
	const result = el("div", { "aria-live": "polite" });
	const problem = el("p.problem", { role: "alert", hidden: true });
	const complain = (text) => {
		problem.hidden = !text;
		problem.textContent = text ?? "";
	};
	const reads = async (input) => {
		const file = input.files[0];
		if (!file) return "";
		if (file.size > largest) throw new Error(`${file.name} is larger than 16 MiB.`);
		return decode(await file.arrayBuffer());
	};
	const choose = async () => {
		complain();
		fill(list);
		fill(result);
		try {
			collection = await reads(collectionFile);
			environment = await reads(environmentFile);
			if (!collection) return;
			const read = await post("import-postman", { ...asked(), list: true });
			drawList(read.requests ?? []);
		} catch (error) {
			complain(error.message);
		}
	};
	const asked = () => ({ collection, ...(environment ? { environment } : {}), ...(prefix.value.trim() ? { prefix: prefix.value.trim() } : {}) });
	const collectionFile = el("input", { type: "file", accept: ".json,application/json", onchange: choose, test: "import-collection" });
	const prefix = el("input", { type: "text", autocomplete: "off", spellcheck: "false", test: "import-prefix", placeholder: "none" });
	const environmentFile = el("input", { type: "file", accept: ".json,application/json", onchange: choose, test: "import-environment" });

	const drawList = (requests) => {
		const ticks = [];
		const make = button("Make Caddyfile text", async () => {
			complain();
			try {
				const made = await post("import-postman", { ...asked(), choose: ticks.filter((tick) => tick.checked).map((tick) => tick.value) });
				drawResult(made);
			} catch (error) {
				complain(error.message);
			}
		}, { class: "primary", test: "import-make" });
		const count = () => {
			const n = ticks.filter((tick) => tick.checked).length;
			make.disabled = n === 0;
			make.textContent = n ? `Make Caddyfile text of ${plural(n, "request")}` : "Choose at least one request";
		};
		const items = requests.map((request) => {
			const tick = el("input", { type: "checkbox", value: request.number, checked: request.importable, disabled: !request.importable, onchange: count, test: "import-request" });
			if (request.importable) ticks.push(tick);
			return el("li", { class: request.importable ? null : "not" },
				el("label", tick, el("span", shown(request.path, 200)), " ", mono(`${request.method} ${request.url}`, 160)),
				request.why ? el(request.importable ? "p.note" : "p.tone-bad", request.importable ? null : [icon("cross"), " cannot be imported: "], long(request.why, 400)) : null);
		});
		const all = (on) => () => {
			for (const tick of ticks) tick.checked = on;
			count();
		};
		fill(list, el("fieldset.panel.import-list", el("legend", plural(requests.length, "request")),
			requests.length ? el("div.tools", button("All", all(true), { class: "small" }), button("None", all(false), { class: "small" })) : el("p", "The collection has no requests."),
			el("ul", items), el("div.actions", make)));
		count();
	};

	const drawResult = (made) => {
		const heading = el("h2", { tabindex: "-1" }, "Caddyfile text");
		fill(result, el("section.panel", { test: "import-result" }, heading,
			el("p", "Put it into the ", el("code", "event_relay"), " option of your Caddyfile, or into a file that it imports, and reload. Then name the actions in rules."),
			code(made.caddyfile, { title: "Caddyfile", test: "import-caddyfile" }),
			made.notes?.length ? [el("h3", "Look at these"), el("ul.notes", made.notes.map((text) => el("li", long(text, 600))))] : null));
		heading.focus({ preventScroll: true });
		heading.scrollIntoView({ block: "start" });
	};

	fill(container,
		el("nav.walk", { "aria-label": "Back" }, el("a.back", { href: to("actions") }, icon("left"), "Actions")),
		el("div.view-head", el("h1", { tabindex: "-1" }, "Import from Postman")),
		el("p.intro", "Export a collection from Postman (v2.0 or v2.1) and choose the file. Its requests become actions as text for your Caddyfile; nothing here is changed."),
		el("div.panel.two", labelled("Collection", collectionFile), labelled("Environment, if there is one", environmentFile), labelled("Beginning of the actions' names", prefix)),
		problem, list, result);
	return { title: "Import from Postman" };
}
