// Makes elements. Everything on the page is made here, from text nodes and
// attributes: nothing that came with an event is ever parsed as markup.

// el makes an element: el("p.note", {id: "x"}, "text", child, [children]).
// Attributes may be left out. "test" becomes data-test, "on…" a listener.
export function el(selector, ...rest) {
	const [name, ...classes] = selector.split(".");
	const node = document.createElement(name || "div");
	if (classes.length) node.className = classes.join(" ");
	if (isAttributes(rest[0])) set(node, rest.shift());
	add(node, rest);
	return node;
}

function isAttributes(value) {
	return value !== null && typeof value === "object" && !Array.isArray(value) && !(value instanceof Node);
}

// What must be set as a property, because the attribute only says how it began.
const asProperty = new Set(["value", "checked", "indeterminate", "disabled", "selected", "hidden", "open"]);

export function set(node, attributes) {
	for (const [name, value] of Object.entries(attributes)) {
		if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
		else if (asProperty.has(name)) node[name] = value ?? "";
		else if (value === null || value === undefined || value === false) node.removeAttribute(name);
		else node.setAttribute(name === "test" ? "data-test" : name, value === true ? "" : value);
	}
}

export function add(node, children) {
	for (const child of children) {
		if (Array.isArray(child)) add(node, child);
		else if (child !== null && child !== undefined && child !== false && child !== "") node.append(child);
	}
}

// fill replaces what a node holds.
export function fill(node, ...children) {
	node.replaceChildren();
	add(node, children);
	return node;
}

let count = 0;

// uid returns an id that no other element has, to join labels with what they
// label.
export function uid(prefix = "id") {
	count++;
	return `${prefix}-${count}`;
}

// button makes a real button that does not submit.
export function button(label, onclick, attributes = {}) {
	return el("button", { type: "button", onclick, ...attributes }, label);
}

// labelled joins a control with a visible label.
export function labelled(text, control, note) {
	control.id ||= uid("field");
	const children = [el("label", { for: control.id }, text), control];
	if (note) {
		const id = uid("note");
		control.setAttribute("aria-describedby", id);
		children.push(el("p.note", { id }, note));
	}
	return el("div.field", ...children);
}

// select makes a list of choices: [value, text] pairs, or values.
export function select(choices, chosen, attributes = {}) {
	return el("select", attributes, choices.map((choice) => {
		const [value, text] = Array.isArray(choice) ? choice : [choice, choice];
		return el("option", { value, selected: value === chosen }, text);
	}));
}

// table makes a table with a caption that only screen readers hear.
export function table(caption, headings, rows, attributes = {}) {
	return el("div.scroll", { tabindex: "0", role: "group", "aria-label": caption },
		el("table.plain", attributes,
			el("caption.sr-only", caption),
			el("thead", el("tr", headings.map((heading) => el("th", { scope: "col" }, heading)))),
			el("tbody", rows)));
}
