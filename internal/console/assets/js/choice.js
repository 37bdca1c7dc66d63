// A list of known words to choose from, with a way to write another: history
// knows names that the configuration has dropped.
import { el, fill, uid } from "./dom.js";

const another = "\u0000another";

// choice makes the control with its label. first are the choices before the known
// words, as [value, text]; onChange gets the value that was chosen or written.
export function choice(text, { first = [], onChange, test, required = false }) {
	let value = first[0]?.[0] ?? "";
	let groups = [];
	const list = el("select", { id: uid("choice"), required, test, onchange: () => {
		if (list.value === another) write();
		else become(list.value);
	} });
	const input = el("input", { type: "text", hidden: true, disabled: true, required, autocomplete: "off", spellcheck: "false", "aria-label": `${text}, written out`, test: `${test}-other`,
		onchange: () => {
			become(input.value.trim());
			// Emptied, there is nothing to show: the list comes back.
			if (value === "") draw();
		} });
	const node = el("div.field", el("label", { for: list.id }, text), list, input);

	const become = (next) => {
		value = next;
		onChange?.(value);
	};
	const show = (written) => {
		list.hidden = list.disabled = written;
		input.hidden = input.disabled = !written;
	};
	const write = () => {
		input.value = "";
		show(true);
		input.focus();
	};
	const option = ([of, words]) => el("option", { value: of, selected: of === value }, words);
	const draw = () => {
		show(false);
		const known = groups.flatMap((group) => group.words);
		const rest = value !== "" && !known.includes(value) && !first.some(([of]) => of === value) ? [[value, value]] : [];
		fill(list, first.map(option), rest.map(option),
			groups.map((group) => group.name ? el("optgroup", { label: group.name }, group.words.map((word) => option([word, word]))) : group.words.map((word) => option([word, word]))),
			option([another, "another name …"]));
		list.value = value;
	};
	input.addEventListener("keydown", (event) => {
		if (event.key !== "Escape") return;
		event.stopPropagation();
		draw();
		list.focus();
	});
	draw();
	return {
		node,
		// know sets the known words: [{name, words}], in groups with a name or without.
		know(next) {
			groups = next;
			if (!list.hidden) draw();
		},
		get value() { return value; },
		set value(next) {
			if (next === value && !list.hidden) return;
			value = next;
			if (document.activeElement !== input) draw();
		},
		// marks tells assistive technology whether the value is wrong.
		marks(wrong) {
			for (const control of [list, input]) {
				if (wrong) control.setAttribute("aria-invalid", "true");
				else control.removeAttribute("aria-invalid");
			}
		},
	};
}
