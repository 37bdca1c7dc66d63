// Times, in the zone of the browser. The server keeps UTC.
import { el } from "./dom.js";

const two = (n) => String(n).padStart(2, "0");
const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const months = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

export function parse(text) {
	const at = new Date(text ?? NaN);
	// Go writes a time that is not set as year 1.
	return Number.isNaN(at.getTime()) || at.getFullYear() < 1900 ? null : at;
}

export const clock = (at) => `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
export const date = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;

export const zone = () => Intl.DateTimeFormat().resolvedOptions().timeZone ?? "local";

// zoneHint says that the relay's time zone shows another time than the browser's, and
// "" if it does not: its rules and commands name times in the relay's.
export function zoneHint(status) {
	if (!status?.timezone) return "";
	const ahead = status.utc_offset / 60 + new Date().getTimezoneOffset();
	if (ahead === 0) return "";
	return `Times on this page are in your browser's time zone, ${zone()}. The relay's, in which rules and commands name times, is ${status.timezone}: ` +
		`its clocks are ${span(Math.abs(ahead) * 60)} ${ahead > 0 ? "ahead" : "behind"}.`;
}

// full writes a time to the millisecond, with its zone.
export function full(at) {
	const offset = -at.getTimezoneOffset();
	const sign = offset < 0 ? "-" : "+";
	return `${days[at.getDay()]} ${date(at)} ${clock(at)}.${String(at.getMilliseconds()).padStart(3, "0")} ` +
		`${sign}${two(Math.trunc(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)} (${zone()})`;
}

// medium writes a time to the second, with its day.
export const medium = (at) => `${days[at.getDay()].slice(0, 3)} ${date(at)} ${clock(at)}`;

function startOfDay(at) {
	return new Date(at.getFullYear(), at.getMonth(), at.getDate());
}

// dayName writes the day: Today, Yesterday, Tuesday 10 March.
export function dayName(at) {
	const now = new Date();
	const ago = Math.round((startOfDay(now) - startOfDay(at)) / 86_400_000);
	const year = at.getFullYear() === now.getFullYear() ? "" : ` ${at.getFullYear()}`;
	const name = `${days[at.getDay()]} ${at.getDate()} ${months[at.getMonth()]}${year}`;
	return ago === 0 ? `Today, ${name}` : ago === 1 ? `Yesterday, ${name}` : name;
}

// span writes a length of time in seconds with its two largest units.
export function span(seconds) {
	seconds = Math.max(0, seconds);
	if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
	if (seconds < 10) return `${Number(seconds.toFixed(1))} s`;
	seconds = Math.round(seconds);
	if (seconds < 60) return `${seconds} s`;
	const units = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
	const first = units.findIndex(([, size]) => seconds >= size);
	const [name, size] = units[first];
	const [smaller, smallerSize] = units[first + 1];
	const rest = Math.floor((seconds % size) / smallerSize);
	return `${Math.floor(seconds / size)} ${name}${rest ? ` ${rest} ${smaller}` : ""}`;
}

// took writes how long an attempt took, from milliseconds.
export function took(millis) {
	if (!(millis >= 0)) return "";
	return millis < 10 ? `${Number(millis.toFixed(1))} ms` : millis < 1000 ? `${Math.round(millis)} ms` : span(millis / 1000);
}

// relative writes a time from now: "3 min ago", "in 2 h".
export function relative(at) {
	const seconds = (at - Date.now()) / 1000;
	if (Math.abs(seconds) < 1.5) return "now";
	return seconds < 0 ? `${span(Math.round(-seconds))} ago` : `in ${span(Math.round(seconds))}`;
}

// short writes a time as briefly as it can be understood today.
export function short(at) {
	const now = new Date();
	if (date(at) === date(now)) return clock(at);
	if (Math.abs(now - at) < 6 * 86_400_000) return `${days[at.getDay()].slice(0, 3)} ${clock(at).slice(0, 5)}`;
	return `${date(at)} ${clock(at).slice(0, 5)}`;
}

// due writes when something is to happen.
export const due = (at) => (at > Date.now() ? relative(at) : "is due");

// Formats that change with time.
const moving = new Map([["relative", relative], ["due", due]]);

// timeNode makes a time element; the whole time is in its title. Its text is kept
// up to date while it stands on the page.
export function timeNode(text, format = short) {
	const at = parse(text);
	if (!at) return el("span.muted", "never");
	const name = [...moving].find(([, known]) => known === format)?.[0];
	return el("time", { datetime: at.toISOString(), title: full(at), "data-moving": name }, format(at));
}

setInterval(() => {
	if (document.hidden) return;
	for (const node of document.querySelectorAll("time[data-moving]")) {
		const now = moving.get(node.dataset.moving)(new Date(node.dateTime));
		if (node.textContent !== now) node.textContent = now;
	}
}, 5000);

// forInput writes a time for an input of type datetime-local.
export function forInput(at) {
	return `${date(at)}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

// The quick choices of a range. What they mean is worked out when asked for.
export const ranges = [
	["", "any time"],
	["15m", "last 15 minutes"],
	["1h", "last hour"],
	["6h", "last 6 hours"],
	["24h", "last 24 hours"],
	["today", "today"],
	["yesterday", "since yesterday"],
	["7d", "last 7 days"],
	["30d", "last 30 days"],
];

// moment turns what a filter says into what the API takes: an age stays, days
// begin at midnight here, and what is a time is sent with its zone. What cannot
// be read goes as it is: the API says what is wrong with it.
export function moment(text) {
	if (!text || /^\d+(\.\d+)?[smhdw]$/.test(text)) return text;
	const word = text.toLowerCase();
	const at = startOfDay(new Date());
	if (word === "today") return at.toISOString();
	if (word === "yesterday") {
		at.setDate(at.getDate() - 1);
		return at.toISOString();
	}
	const day = days.findIndex((name) => name.toLowerCase() === word);
	if (day >= 0) {
		at.setDate(at.getDate() - (((at.getDay() - day + 6) % 7) + 1));
		return at.toISOString();
	}
	const local = /^(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}(?::\d{2})?))?$/.exec(text);
	if (local) {
		const read = new Date(`${local[1]}T${local[2] ?? "00:00"}`);
		if (!Number.isNaN(read.getTime())) return read.toISOString();
	}
	return text;
}
