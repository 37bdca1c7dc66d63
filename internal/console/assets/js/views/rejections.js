// Which requests were refused and why, and which credential was used when.
import { el, table, button } from "../dom.js";
import { icon } from "../icons.js";
import { get } from "../api.js";
import { shown, mono, long } from "../shown.js";
import { timeNode, parse, relative } from "../times.js";
import { listPage, matches } from "./page.js";

// What speaks for and against a sender, where the status alone does not.
const signs = {
	unclear: "Without a credential: a sender that has none, or a scanner. From the third in an hour it counts.",
	probe: "As any scanner does; it does not count.",
};

// noteOf says what speaks for and against a sender, or what to do for it.
function noteOf(one) {
	const note = signs[one.sign] ?? (one.request ? "Correct the address in the sender, or add this one to the Caddyfile." : one.status === 401 ? "Correct the credential in the sender, or add this one to its source." : null);
	return note ? el("p.muted", note) : null;
}

export function open(container) {
	const page = listPage(container, {
		title: "Rejections", view: "rejections", placeholder: "address, status, path, reason …",
		intro: "Requests that were refused, and those that no mount took, grouped. Of a refused one only the origin is kept.",
		tools: [button([icon("again"), "Read again"], () => page.again(), { test: "read-again" })],
		load: () => get("rejections"),
		draw: (data, words) => {
			const list = (data.rejections ?? []).filter((one) => matches(words, one.address, String(one.status), one.request ?? "", one.reason));
			return [
				el("section.panel", el("h2", "Rejected requests"), list.length ? table("Rejected requests", ["Last", "Answer", "Why", "From", "Times", "First"], list.map((one) => el("tr", { test: "rejection" },
					el("td", timeNode(one.last)), el("td", el(`span.mark.tone-${one.sign === "probe" ? "quiet" : "bad"}`, icon("barred"), String(one.status))),
					el("td", one.request ? [mono(one.request, 120), ": "] : null, long(one.reason, 400), noteOf(one)), el("td", mono(one.address, 80)), el("td.number", one.count.toLocaleString("en")), el("td", timeNode(one.first)))))
					: el("p.muted", words.length ? "None of them matches." : "No request has been refused, and none came that no mount took. If a sender says that it sent an event which is not in the activity, its request never reached this server: look at the firewall and the address.")),
				el("section.panel", el("h2", "Credentials"), (data.credentials ?? []).length ? table("When each credential was last used", ["Source", "Credential", "Kind", "Value", "Last used"], data.credentials.map((use) => el("tr", { test: "credential" },
					el("td", shown(use.source, 80)), el("td", `${use.credential}.`), el("td", shown(use.kind, 40)), el("td", `${use.value}.`),
					el("td", parse(use.last) ? timeNode(use.last, relative) : el("span.mark.tone-quiet", icon("dash"), "not yet"))))) : el("p.muted", "No source has a credential."),
				(data.secrets ?? []).length ? el("ul.notes", data.secrets.map((text) => el("li.tone-warn", icon("warning"), " ", long(text, 500)))) : null,
				el("p.note", "Credentials and their values are counted in the order of the Caddyfile. An old value that is not used any more can be removed.")),
			];
		},
	});
	return { title: "Rejections", close: page.close };
}
