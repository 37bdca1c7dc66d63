// Why: rule by rule, each condition with the values of its parts, by the rules
// of now or of when the event came.
import { el, fill } from "../dom.js";
import { icon } from "../icons.js";
import { get } from "../api.js";
import { code } from "../code.js";
import { shown, long, mono } from "../shown.js";
import { timeNode, full } from "../times.js";
import { to } from "../router.js";
import { mark, verdicts, outcomeOf, resultOf, plural } from "../words.js";

export function whySection(detail) {
	const result = el("div", { "aria-live": "polite" });
	// What decided comes first: the rules of today may be others.
	const choices = [["then", "Rules of then"], ["now", "Today's rules"]];
	const name = "rules-of";
	const toggle = el("fieldset.segments", { test: "rules-toggle" }, el("legend.sr-only", "By which rules"),
		choices.map(([value, text]) => el("label", el("input", { type: "radio", name, value, checked: value === "then", onchange: () => load(value) }), el("span", text))));
	const stored = detail.verdict ?? {};
	let turn = 0;

	async function load(by) {
		const mine = ++turn;
		result.setAttribute("aria-busy", "true");
		try {
			const read = await get(`explain/${encodeURIComponent(detail.id)}`, by === "then" ? { by } : {});
			if (mine !== turn) return;
			const explanation = by === "then" ? read.explanation : read;
			fill(result, by === "then" ? snapshotLine(read.snapshot) : null, explained(explanation?.events?.[0], stored, detail));
		} catch (error) {
			if (mine === turn) fill(result, by === "then" ? el("p.note", error.message, " Choose \"Today's rules\" to see what the running configuration says.") : el("p.problem", error.message));
		} finally {
			if (mine === turn) result.removeAttribute("aria-busy");
		}
	}
	load("then");
	return el("section.panel", { "aria-labelledby": "why-title", test: "why" },
		el("div.panel-head", el("h2", { id: "why-title" }, "Why"), toggle),
		storedVerdict(detail),
		result);
}

// storedVerdict says what was decided when the event came, in one sentence and
// with what explains it.
function storedVerdict(detail) {
	const verdict = detail.verdict ?? {};
	const kind = verdicts[verdict.decision];
	return el("div.verdict", { test: "verdict" },
		el("p", el("strong", "Decided then: "), kind ? mark(kind) : shown(verdict.decision), " ", long(verdict.reason, 500), verdict.rule || verdict.not_held ? [" (", mono(verdict.rule || verdict.not_held, 80), ")"] : null),
		verdict.actions?.length ? el("p", "Actions: ", verdict.actions.map((call, i) => [i ? ", " : "", el("a", { href: to("actions", call.action) }, shown(call.action, 80)), " by ", mono(call.rule, 80)])) : null,
		verdict.absent?.length ? el("p.tone-warn", icon("question"), " Absent from the event, though the rules ask for it: ", verdict.absent.map((field, i) => [i ? ", " : "", el("code", shown(field, 100))])) : null,
		verdict.errors?.length ? el("ul.errors", verdict.errors.map((text) => el("li.tone-bad", icon("warning"), " ", long(text, 400)))) : null);
}

function snapshotLine(snapshot) {
	if (!snapshot) return null;
	return el("p.note", "By the configuration that was loaded ", timeNode(snapshot.loaded, full), " (", el("a", { href: to("snapshot", String(snapshot.id)) }, "show it"), "). Secrets of then are not known any more.");
}

function explained(event, stored, detail) {
	if (!event) return el("p.muted", "Nothing is known.");
	const differs = event.verdict?.decision !== stored.decision || event.verdict?.reason !== stored.reason;
	return [
		differs ? el("p.note", "These rules decide otherwise: ", mark(verdicts[event.verdict?.decision] ?? { word: String(event.verdict?.decision), icon: "question", tone: "quiet" }), " ", long(event.verdict?.reason, 300)) : null,
		event.rules?.length ? el("ol.rules", event.rules.map((one) => rule(one, detail))) : el("p", "No rule names this event."),
		event.other_rules ? el("p.muted", `${plural(event.other_rules, "other rule")} ${event.other_rules === 1 ? "names" : "name"} other events.`) : null,
		event.requests?.length ? el("details.planned", el("summary", `What would be sent by these rules (${event.requests.length})`), event.requests.map(planned)) : null,
	];
}

function rule(one, detail) {
	const kind = outcomeOf(one.outcome);
	return el(`li.rule.edge-${kind.tone}`, { test: "rule", "data-outcome": one.outcome },
		el("div.rule-head", mark(kind), mono(one.place, 120), one.description ? shown(one.description, 200, "span.shown.muted") : null),
		el("p", long(one.reason, 400)),
		one.when?.length ? el("ul.parts", one.when.map(part)) : null,
		el("p.leads", one.ignore ? "Leads to: ignore" : one.do?.length ? ["Leads to: ", one.do.map((action, i) => [i ? ", " : "", el("a", { href: to("actions", action) }, shown(action, 80)),
			one.outcome === "applied" && one.adds && !one.adds.includes(action) ? " (asked for already)" : ""])] : null),
		el("p", el("a", { href: to("rehearse", [], { rule: one.place, source: detail.source, event: detail.event }), test: "rehearse-rule" }, "Rehearse a change of this rule")));
}

function part(one) {
	const kind = resultOf(one.result);
	return el("li", { class: one.unread ? "part unread" : "part" },
		el("div.part-line", el("code.expression", { dir: "auto" }, shown(one.expression, 600)),
			el("span.part-result", kind.word === "value" ? null : mark(kind), one.value !== undefined && one.value !== "" ? ["= ", mono(one.value, 300)] : null,
				one.absent?.length ? el("span.tone-warn", " absent: ", one.absent.map((name, i) => [i ? ", " : "", el("code", shown(name, 100))])) : null,
				one.note ? el("span.tone-warn", " (", shown(one.note, 300), ")") : null,
				one.error ? el("span.tone-bad", " ", long(one.error, 300)) : null,
				one.unread ? el("span.muted", " (not needed)") : null)),
		one.parts?.length ? el("ul.parts", one.parts.map(part)) : null,
		one.more ? el("p.muted", "and more parts") : null);
}

export function planned(request) {
	return el("div.planned-request",
		el("h3", el("a", { href: to("actions", request.action) }, shown(request.action, 100))),
		request.error ? el("p.problem", "Would not be sent: ", long(request.error, 400)) : null,
		request.warning ? el("p.note", long(request.warning, 400)) : null,
		request.empty?.length ? el("p.note", "These tags give nothing: ", request.empty.map((name) => [el("code", shown(name, 80)), " "])) : null,
		request.request ? code(request.request, { title: "Request", test: "planned-request" }) : null);
}

