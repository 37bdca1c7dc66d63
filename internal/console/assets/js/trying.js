// Trying now what waits for its next attempt, or a target that is down.
import { button } from "./dom.js";
import { icon } from "./icons.js";
import { post } from "./api.js";
import { refresh } from "./status.js";
import { changed } from "./switching.js";
import { failed, toast } from "./toast.js";

// tryButton makes the button for {delivery} or {target}. of names it for those who do
// not see where the button is; done is called when it was tried.
export function tryButton(what, { of, done = () => {} } = {}) {
	return button([icon("play"), "Try now"], async () => {
		try {
			const { deliveries, tested, says } = await post("try", what);
			toast(says.join(" "), deliveries || tested?.length ? "good" : "warn", 9000);
			await refresh();
			changed.dispatchEvent(new Event("change"));
			done();
		} catch (error) {
			failed(error);
		}
	}, { class: "small", "aria-label": `Try now: ${of}`, test: "try-now" });
}
