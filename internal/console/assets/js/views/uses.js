// How often events, rules and actions were used, and when last.
import { el } from "../dom.js";
import { timeNode, relative, short } from "../times.js";
import { icon } from "../icons.js";

const number = (count) => count.toLocaleString("en");

// usesLine says it in short, for the line of an entry: "1,204 · 5 min ago".
export function usesLine(used) {
	if (!used) return null;
	if (!used.count) return el("span.uses", { test: "uses", title: "Without tests and duplicates" }, "never yet");
	return el("span.uses", { test: "uses", title: "How often, and when last, without tests and duplicates" }, number(used.count), " × · ", timeNode(used.last, relative));
}

// usesText says it in full: verb is what was done, such as "came" or "held".
export function usesText(used, verb) {
	if (!used) return null;
	const since = ["since ", timeNode(used.since, short)];
	if (!used.count) return [`Never ${verb} `, since, "."];
	const times = used.count === 1 ? "once" : `${number(used.count)} times`;
	return [`${verb[0].toUpperCase()}${verb.slice(1)} ${times} `, since, used.count > 1 ? ["; first ", timeNode(used.first, short)] : null, "; last ", timeNode(used.last, relative), "."];
}

// idleMark marks a rule that has never held although it exists for long.
export function idleMark(rule) {
	if (!rule.idle) return null;
	return el("span.mark.tone-warn", { test: "idle" }, icon("clock"), rule.idle === "not_held" ? "never held" : "no event yet");
}

// idleText says what a marked rule may lack.
export function idleText(rule) {
	if (rule.idle === "not_held") return ["Events of its came, the last ", timeNode(rule.last_event, relative), ": open one in the activity and look which condition does not hold."];
	if (rule.idle === "no_event") return ["No event came that it names: see that the sender posts such events."];
	return null;
}
