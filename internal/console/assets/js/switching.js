// Turning things off and on while the relay runs.
import { el, button, labelled, select } from "./dom.js";
import { post } from "./api.js";
import { openDialog } from "./dialogs.js";
import { visible } from "./shown.js";
import { refresh } from "./status.js";
import { failed, toast } from "./toast.js";
import { copy } from "./copy.js";
import { decide } from "./again.js";
import { plural } from "./words.js";

// changed gets every switch that was turned here.
export const changed = new EventTarget();

const durations = [["30m", "30 minutes"], ["1h", "1 hour"], ["4h", "4 hours"], ["24h", "24 hours"], ["168h", "7 days"], ["", "until it is turned on by hand"]];

const words = {
	all: { title: () => "Switch everything off", label: "Switch off", does: "Events are still taken and stored, with the verdict disabled. Nothing is done about them: no rule is read, nothing is sent, and what waits goes on waiting." },
	event: { title: (name) => `Switch off ${name}`, label: "Switch off", does: "Events of this name are still taken and stored, with the verdict disabled. Nothing is done about them. They can be decided again later." },
	action: { title: (name) => `Pause ${name}`, label: "Pause", does: "Deliveries of this action gather and are sent when it is resumed." },
};

export function switchOff(kind, name = "") {
	const word = words[kind];
	const during = select(durations, "1h", { test: "switch-for" });
	const reason = el("input", { type: "text", maxlength: "500", autofocus: true, test: "switch-reason", placeholder: "such as: the SAN is being moved" });
	const problem = el("p.problem", { role: "alert" });
	openDialog(word.title(visible(name)), (close) => el("form", {
		onsubmit: async (event) => {
			event.preventDefault();
			problem.textContent = "";
			try {
				await turn({ kind, name, off: true, for: during.value, reason: reason.value.trim() });
				close();
			} catch (error) {
				problem.textContent = error.message;
			}
		},
	},
	el("p", word.does),
	labelled("For how long", during),
	labelled("Reason", reason, "It is shown wherever the switch is, so that others know."),
	problem,
	el("div.actions", button("Cancel", close), el("button.danger", { type: "submit", test: "switch-confirm" }, word.label))),
	{ test: "switch-dialog" });
}

export async function switchOn(kind, name = "") {
	try {
		const { meanwhile } = await turn({ kind, name, off: false });
		if (meanwhile?.decide) tellMeanwhile(meanwhile);
	} catch (error) {
		failed(error);
	}
}

async function turn(what) {
	const body = Object.fromEntries(Object.entries(what).filter(([, value]) => value !== ""));
	const turned = await post("switch", body);
	const subject = what.kind === "all" ? "Everything" : visible(what.name);
	toast(`${subject} is ${what.kind === "action" ? (what.off ? "paused" : "resumed") : what.off ? "switched off" : "switched on"}.${turned.meanwhile && what.kind !== "event" ? ` ${plural(turned.meanwhile.deliveries, "delivery goes", "deliveries go")} out now.` : ""}`);
	await refresh();
	changed.dispatchEvent(new Event("change"));
	return turned;
}

// tellMeanwhile says which events came while something was off, and how to decide
// them.
function tellMeanwhile({ events, more, decide: command, filter }) {
	openDialog("Events that came meanwhile", (close) => [
		el("p", { test: "meanwhile" }, `${more ? "At least " : ""}${plural(events, "event")} came while it was off, and nothing was done about ${events === 1 ? "it" : "them"}. What they would lead to now is shown before anything is sent.`),
		el("p", el("code.block", { test: "meanwhile-command" }, command)),
		el("div.actions", button("Leave them", close),
			button("Copy the command", () => copy(command, "the command"), { test: "meanwhile-copy" }),
			button("Decide them …", () => {
				close();
				decide({ filter }, { what: "these events" });
			}, { class: "primary", test: "meanwhile-decide" })),
	], { test: "meanwhile-dialog" });
}
