// The JSON API, as this page asks it. Addresses are relative to the page, so
// that it works wherever it is mounted.
const base = new URL("api/", document.baseURI);

// ApiError says what went wrong in the server's words. Its status is 0 when
// there was no answer.
export class ApiError extends Error {
	constructor(message, status, field) {
		super(message);
		this.status = status;
		this.field = field;
	}
}

// contact gets each answer and each silence, so that the page can say
// that the relay cannot be reached.
export const contact = new EventTarget();

function report(reached) {
	contact.dispatchEvent(new CustomEvent("contact", { detail: reached }));
}

export function address(path, query = {}) {
	const url = new URL(path, base);
	for (const [key, value] of Object.entries(query)) {
		if (value !== undefined && value !== null && value !== "") url.searchParams.set(key, value);
	}
	return url;
}

async function ask(url, options) {
	let answer;
	try {
		answer = await fetch(url, { cache: "no-store", ...options });
	} catch (error) {
		if (error.name === "AbortError") throw error;
		report(false);
		throw new ApiError("The relay does not answer. Is Caddy running?", 0);
	}
	if (answer.ok) {
		report(true);
		return answer;
	}
	let message = `The relay answered ${answer.status} ${answer.statusText}.`;
	let field;
	try {
		const line = await answer.json();
		if (line.error) message = line.error;
		field = line.field;
		report(true);
	} catch {
		// Not an answer of the relay but, say, of a proxy before it: the status has
		// to do.
		report(answer.status < 500);
	}
	throw new ApiError(message, answer.status, field);
}

export async function get(path, query, options) {
	return (await ask(address(path, query), options)).json();
}

const posted = (body) => ({
	method: "POST",
	headers: { "Content-Type": "application/json" },
	body: JSON.stringify(body),
});

export async function post(path, body, options) {
	return (await ask(address(path), { ...posted(body), ...options })).json();
}

// postLong sends a request whose answer comes in lines: progress, and at the
// end the result.
export async function postLong(path, body, onProgress = () => {}, signal) {
	const answer = await ask(address(path), { ...posted(body), signal });
	const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
	let rest = "";
	let result;
	const line = (text) => {
		if (!text.trim()) return;
		const line = JSON.parse(text);
		if (line.error) throw new ApiError(line.error, answer.status, line.field);
		if (line.progress) onProgress(line.progress);
		if ("result" in line) result = line.result;
	};
	for (;;) {
		const { done, value } = await reader.read();
		if (done) break;
		const lines = (rest + value).split("\n");
		rest = lines.pop();
		lines.forEach(line);
	}
	line(rest);
	if (result === undefined) throw new ApiError("The answer ended before the result. What was done until then stays done.", 0);
	return result;
}
