// The live stream. It is closed while the page is hidden: browsers keep few
// connections to one host, and each stream holds one.
import { address } from "./api.js";
import { refresh } from "./status.js";

// live follows events that pass a query. onBatch gets each batch, onState one
// of "live", "paused", "reconnecting", onGap is called when something may have
// been missed: whenever the stream opens, also for the first time.
export function live(query, { onBatch, onState, onGap }) {
	let source = null;
	let retry = null;
	let wanted = true;
	let ended = false;
	let opened = false; // ever
	let connected = false; // now

	const connect = () => {
		disconnect();
		if (ended || !wanted || document.hidden) return;
		onState(opened ? "reconnecting" : "connecting");
		source = new EventSource(address("live", query));
		source.addEventListener("open", () => {
			// What happened after it was read and before now is not in the stream.
			onGap();
			opened = connected = true;
			onState("live");
		});
		source.addEventListener("batch", (event) => {
			const batch = JSON.parse(event.data);
			if (batch.missed) onGap();
			if (batch.events?.length) onBatch(batch.events);
		});
		source.addEventListener("error", () => {
			onState("reconnecting");
			// Whether the relay is gone is seen here first: let the banner know.
			if (connected) refresh();
			connected = false;
			// The browser tries again by itself unless the answer was an error.
			if (source?.readyState === EventSource.CLOSED) {
				disconnect();
				retry = setTimeout(connect, 3000);
			}
		});
	};
	const disconnect = () => {
		clearTimeout(retry);
		source?.close();
		source = null;
	};
	const looked = () => (document.hidden ? disconnect() : connect());
	document.addEventListener("visibilitychange", looked);
	connect();

	return {
		pause() {
			wanted = false;
			disconnect();
			onState("paused");
		},
		resume() {
			wanted = true;
			connect();
		},
		get paused() {
			return !wanted;
		},
		close() {
			ended = true;
			disconnect();
			document.removeEventListener("visibilitychange", looked);
		},
	};
}
