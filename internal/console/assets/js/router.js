// Addresses of views: #/view/part?key=value. Every view can be shared by its
// address.
export function read(hash = location.hash) {
	const [path, query = ""] = hash.replace(/^#\/?/, "").split("?");
	const [view = "", ...parts] = path.split("/").map(decode);
	return { view, parts, query: Object.fromEntries(new URLSearchParams(query)) };
}

function decode(part) {
	try {
		return decodeURIComponent(part);
	} catch {
		return part;
	}
}

// to writes the address of a view. Empty values are left out.
export function to(view, parts = [], query = {}) {
	const path = [view, ...[parts].flat()].map(encodeURIComponent).join("/");
	const said = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null));
	return `#/${path}${said.size ? "?" + said : ""}`;
}

export const eventAddress = (id) => to("event", id);

// replace changes the address without a new step in the history.
export function replace(hash) {
	if (hash !== location.hash) history.replaceState(history.state, "", hash);
}

export function go(hash) {
	location.hash = hash;
}
