// Reads JSON without changing it. JSON.parse would round long numbers and drop
// keys that occur twice: what is shown must be what came.

// pretty indents JSON text, its numbers and strings as they are. It returns null
// when the text is no JSON.
export function pretty(text) {
	try {
		JSON.parse(text);
	} catch {
		return null;
	}
	const tokens = text.match(/"(?:[^"\\]|\\[^])*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
	let out = "";
	let depth = 0;
	const line = () => "\n" + "  ".repeat(depth);
	for (let i = 0; i < tokens.length; i++) {
		const token = tokens[i];
		if (token === "{" || token === "[") {
			if (tokens[i + 1] === "}" || tokens[i + 1] === "]") {
				out += token + tokens[++i];
				continue;
			}
			depth++;
			out += token + line();
		} else if (token === "}" || token === "]") {
			depth--;
			out += line() + token;
		} else if (token === ",") out += token + line();
		else if (token === ":") out += ": ";
		else out += token;
	}
	return out;
}

// leaves lists what a JSON text holds, with the path by which templates and
// rules call it, such as body.project.id, at most `most`.
export function leaves(text, root = "body", most = 300) {
	let value;
	try {
		// Browsers that know it give the number as it was written.
		value = JSON.parse(text, (key, read, context) =>
			typeof read === "number" && context?.source ? new Literal(context.source) : read);
	} catch {
		return [];
	}
	const found = [];
	const walk = (node, path, depth) => {
		if (found.length >= most) return;
		if (node !== null && typeof node === "object" && !(node instanceof Literal) && depth < 12) {
			const entries = Array.isArray(node) ? node.map((item, i) => [i, item]) : Object.entries(node);
			for (const [key, item] of entries) walk(item, path + step(key), depth + 1);
		} else if (path !== root) found.push([path, node]);
	};
	walk(value, root, 0);
	return found;
}

class Literal {
	constructor(source) {
		this.source = source;
	}
	toString() {
		return this.source;
	}
}

function step(key) {
	if (typeof key === "number") return `[${key}]`;
	return /^[A-Za-z_][A-Za-z0-9_]*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
}
