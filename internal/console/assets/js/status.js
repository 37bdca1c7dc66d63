// How the relay is. It is asked for every now and then while the page is
// looked at, and after each change; whoever shows it subscribes.
import { get, contact } from "./api.js";

const every = 15_000;
let latest = null;
let timer = null;
let reached = true;
const listeners = new Set();

export const status = () => latest;
export const isReached = () => reached;

// onStatus calls back with each new status, and at once if there is one. It
// returns a function that ends it.
export function onStatus(listener) {
	listeners.add(listener);
	if (latest || !reached) listener(latest, reached);
	return () => listeners.delete(listener);
}

function tell() {
	for (const listener of listeners) listener(latest, reached);
}

export async function refresh() {
	clearTimeout(timer);
	try {
		latest = await get("status");
		tell();
	} catch {
		// contact tells of silence; anything else is shown by who asked for more.
	}
	if (!document.hidden) timer = setTimeout(refresh, reached ? every : 4000);
}

export function start() {
	contact.addEventListener("contact", ({ detail }) => {
		if (detail === reached) return;
		reached = detail;
		tell();
	});
	document.addEventListener("visibilitychange", () => {
		if (document.hidden) clearTimeout(timer);
		else refresh();
	});
	refresh();
}
