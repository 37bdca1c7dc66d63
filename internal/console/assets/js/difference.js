// What deciding events by other rules changes: the numbers, then a sample of events
// with the verdict of then and the new one.
import { el, table } from "./dom.js";
import { mono, shown } from "./shown.js";
import { timeNode } from "./times.js";
import { eventAddress } from "./router.js";
import { mark, verdicts } from "./words.js";

const mostGroups = 100;
const mostEvents = 200;

// difference shows a result of deciding again. place writes where a rule of the new
// configuration stands.
export function difference(result, place = (rule) => mono(rule, 80)) {
	const groups = result.groups ?? [];
	return [
		changes("Newly asked for", groups.filter((group) => group.fires), "fires", place),
		changes("No longer asked for (listed only; what was sent stays sent)", groups.filter((group) => group.stops), "stops", (rule) => mono(rule, 80)),
		result.differences?.length ? [el("h3", "Events whose verdict changes"), events(result.differences, place),
			result.changed > Math.min(mostEvents, result.differences.length) ? el("p.note", `The first ${Math.min(mostEvents, result.differences.length)} of ${result.changed.toLocaleString("en")}, oldest first.`) : null] : null,
	];
}

function changes(title, groups, count, place) {
	if (!groups.length) return null;
	return [el("h3", title),
		table(title, ["Times", "Action", "Event", "Rule"], groups.slice(0, mostGroups).map((group) => el("tr", { test: `difference-${count}` },
			el("td", el("strong", group[count].toLocaleString("en"))), el("td", mono(group.action, 80)),
			el("td", el("a", { href: eventAddress(group.example), title: "The first such event" }, shown(`${group.source}:${group.event}`, 80))),
			el("td", group.rule ? place(group.rule) : null)))),
		groups.length > mostGroups ? el("p.note", `and ${groups.length - mostGroups} more combinations`) : null];
}

function events(differences, place) {
	const word = (decision) => (verdicts[decision] ? mark(verdicts[decision]) : shown(decision));
	const side = (decision, reason, rule, writes) => el("td", word(decision), " ", el("span.why", shown(reason, 200)), rule ? [" (", writes(rule), ")"] : null);
	const calls = (sign, actions) => (actions ?? []).map((action) => el("li", sign, mono(action, 80)));
	return table("Events whose verdict changes", ["Event", "Then", "Now", "Changes"], differences.slice(0, mostEvents).map((one) => el("tr", { test: "difference-event" },
		el("td", el("a", { href: eventAddress(one.id) }, shown(`${one.source}:${one.event}`, 80)), " ", timeNode(one.received),
			one.subject ? el("div.muted", shown(one.subject, 100)) : null),
		side(one.before, one.reason_before, one.rule_before, (rule) => mono(rule, 80)),
		side(one.after, one.reason, one.rule, place),
		el("td", el("ul.plain-list", calls("+ ", one.fires), calls("− ", one.stops))))));
}
