// How the relay is. It is asked for every now and then while the page is
// looked at, and after each change; views that show it subscribe.
import { get, contact } from "./api.js";

const every = 15_000;
let latest = null;
let timer = null;
let reached = true;
let problem = "";
const listeners = new Set();

export const status = () => latest;

// heldBy returns the switch that keeps a pending delivery waiting, as it is now: that
// of everything, or that of its action. One without a time is the configuration's.
export function heldBy(delivery) {
	if (delivery.state !== "pending") return null;
	if (!latest) return delivery.paused ?? null;
	if (latest.off) return { kind: "all", reason: "active off in the configuration" };
	const off = latest.switches ?? [];
	return off.find((one) => one.kind === "all") ?? off.find((one) => one.kind === "action" && one.name === delivery.action) ?? null;
}

// downFor returns the target for which a pending delivery waits because it is down.
export function downFor(delivery) {
	if (delivery.state !== "pending" || !delivery.down || heldBy(delivery)) return "";
	return !latest || (latest.down ?? []).some((one) => one.target === delivery.down) ? delivery.down : "";
}

// onStatus calls back with each new status, whether the relay can be reached,
// and why its status cannot be read; and at once if something is known.
// It returns a function that ends it.
export function onStatus(listener) {
	listeners.add(listener);
	if (latest || !reached || problem) listener(latest, reached, problem);
	return () => listeners.delete(listener);
}

function publish() {
	for (const listener of listeners) listener(latest, reached, problem);
}

export async function refresh() {
	clearTimeout(timer);
	try {
		latest = await get("status");
		problem = "";
		publish();
	} catch (error) {
		// contact reports silence.
		problem = error.status ? error.message : "";
		if (problem) publish();
	}
	if (!document.hidden) timer = setTimeout(refresh, reached ? every : 4000);
}

export function start() {
	contact.addEventListener("contact", ({ detail }) => {
		if (detail === reached) return;
		reached = detail;
		publish();
	});
	document.addEventListener("visibilitychange", () => {
		if (document.hidden) clearTimeout(timer);
		else refresh();
	});
	refresh();
}
