// Sets the chosen colour scheme before anything is painted, so that the page
// does not flash in the other one. It is not a module because modules wait for
// the document. Storage may be forbidden: then the system's scheme counts.
try {
	const chosen = localStorage.getItem("event-relay-theme");
	if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {}
