// The words and shapes of verdicts, states and outcomes: one place, so that a
// state looks the same wherever it is shown.
import { el } from "./dom.js";
import { icon } from "./icons.js";

export const verdicts = {
	action: { word: "action", icon: "bolt", tone: "info", means: "At least one rule held; its actions are or were carried out." },
	ignored: { word: "ignored", icon: "dash", tone: "quiet", means: "No rule asked for an action, or one said ignore." },
	rule_error: { word: "rule error", icon: "warning", tone: "bad", means: "A condition could not be evaluated." },
	disabled: { word: "disabled", icon: "power", tone: "warn", means: "The event, or everything, was switched off when it came." },
	duplicate: { word: "duplicate", icon: "copies", tone: "quiet", means: "It repeats an event that came before; nothing is done twice." },
};

export const states = {
	pending: { word: "pending", icon: "clock", tone: "warn" },
	delivered: { word: "delivered", icon: "check", tone: "good" },
	failed: { word: "failed", icon: "cross", tone: "bad" },
	expired: { word: "expired", icon: "hourglass", tone: "bad" },
	cancelled: { word: "cancelled", icon: "barred", tone: "quiet" },
	mended: { word: "mended", icon: "check", tone: "quiet" },
};

export const ruleOutcomes = {
	applied: { word: "applied", icon: "check", tone: "good" },
	not_held: { word: "did not hold", icon: "cross", tone: "quiet" },
	error: { word: "error", icon: "warning", tone: "bad" },
	inactive: { word: "inactive", icon: "power", tone: "warn" },
	not_read: { word: "not read", icon: "dash", tone: "quiet" },
};

export const results = {
	true: { word: "true", icon: "check", tone: "good" },
	false: { word: "false", icon: "cross", tone: "bad" },
	unknown: { word: "unknown", icon: "question", tone: "warn" },
	value: { word: "value", icon: "dot", tone: "quiet" },
	error: { word: "error", icon: "warning", tone: "bad" },
};

// mark shows one of them as shape and word.
export function mark(kind, more) {
	return el(`span.mark.tone-${kind.tone}`, icon(kind.icon), el("span", kind.word), more);
}

const unknownKind = (word) => ({ word: String(word).slice(0, 40), icon: "question", tone: "quiet" });

// verdictOf returns the kind of an event's verdict. A duplicate has a verdict
// too, but nothing was done about it.
export function verdictOf(event) {
	if (event.duplicate_of) return verdicts.duplicate;
	return verdicts[event.verdict?.decision] ?? unknownKind(event.verdict?.decision);
}

// standing is the state that lists, filters and colours go by: what arrived when it
// was sent again is mended, whatever became of it before.
export const standing = (delivery) => (delivery.mended_by ? "mended" : delivery.state);
export const stateOf = (state) => states[state] ?? unknownKind(state);
export const outcomeOf = (outcome) => ruleOutcomes[outcome] ?? unknownKind(outcome);
export const resultOf = (result) => results[result] ?? unknownKind(result);

// plural counts: plural(1, "event") is "1 event".
export function plural(n, word, words = word + "s") {
	return `${Number(n ?? 0).toLocaleString("en")} ${n === 1 ? word : words}`;
}

export function bytes(n) {
	if (!(n >= 0)) return "unknown";
	const units = ["B", "KiB", "MiB", "GiB", "TiB"];
	let unit = 0;
	while (n >= 1024 && unit < units.length - 1) {
		n /= 1024;
		unit++;
	}
	return `${unit && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}
