// Lets screen readers say what changed, politely and seldom: a live list would
// otherwise never let them finish a sentence.
const pause = 8000;
let last = 0;
let waiting = null;

export function announce(text) {
	const node = document.getElementById("polite");
	clearTimeout(waiting);
	const wait = Math.max(0, last + pause - Date.now());
	waiting = setTimeout(() => {
		last = Date.now();
		node.textContent = text;
	}, wait);
}
