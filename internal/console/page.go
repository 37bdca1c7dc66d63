package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"path"
	"strings"
	"time"

	"github.com/caddy-event-relay/event-relay/internal/api"
	"github.com/caddy-event-relay/event-relay/internal/names"
)

//go:embed assets
var embedded embed.FS

// Options say where the console page is and who may open it.
type Options struct {
	// Find finds the relay for each call of the API.
	Find api.Find

	// Mount is the path of the page, without a slash at its end. Empty means the
	// whole site.
	Mount string

	// Allow are the networks from which the page may be opened, besides this
	// machine. Hosts are the names under which it may, besides localhost and
	// loopback addresses.
	Allow []netip.Prefix
	Hosts []string

	// Client returns whom a proxy asks for, and whether the server trusts the
	// proxy to say so. If it does not, the address does not count.
	Client func(*http.Request) (client netip.Addr, trusted bool)
}

// New returns the console: the page, with its API under api/. It answers
// whatever lies below its mount.
func New(options Options) http.Handler {
	return &page{
		mount: options.Mount,
		guard: guard{allow: options.Allow, hosts: options.Hosts, client: options.Client},
		api:   api.NewAPI(options.Find),
		files: assets(),
	}
}

type page struct {
	mount string
	guard guard
	api   *api.API
	files map[string]asset
}

// policy lets the page use what comes with it, and nothing else: no script
// or style in the text, where one of an event could get to stand, and no frame of
// another page around it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

var securityHeaders = map[string]string{
	"Content-Security-Policy":      policy,
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "no-referrer",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cross-Origin-Embedder-Policy": "require-corp",
}

// ServeHTTP answers for the page and its API.
func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for name, value := range securityHeaders {
		w.Header().Set(name, value)
	}
	rest := below(p.mount, r.URL.Path)
	call, isCall := strings.CutPrefix(rest, "/api/")
	if err := p.guard.check(r, isCall); err != nil {
		refuse(w, err, isCall)
		return
	}
	switch {
	case isCall:
		if err := p.api.Serve(w, r, call); err != nil {
			api.WriteError(w, err)
		}
	case !isRead(r.Method):
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, &api.Error{Status: http.StatusMethodNotAllowed, Err: fmt.Errorf("opening the console with %s: use GET", r.Method)}, false)
	case rest == "" && p.mount != "":
		// The page names its parts relative to itself. So does this, because a
		// proxy may have taken the beginning of the path away.
		w.Header().Set("Location", path.Base(p.mount)+"/")
		w.WriteHeader(http.StatusFound)
	default:
		p.file(w, r, strings.TrimPrefix(rest, "/"))
	}
}

// below returns what follows the mount in a path. Caddy compares paths without
// regard to letter case and to slashes that are one too many.
func below(mount, requested string) string {
	cleaned := path.Clean("/" + requested)
	if len(cleaned) < len(mount) || !strings.EqualFold(cleaned[:len(mount)], mount) {
		return cleaned // which is nothing of the console's
	}
	rest := cleaned[len(mount):]
	if rest != "/" && strings.HasSuffix(requested, "/") {
		rest += "/"
	}
	return rest
}

func (p *page) file(w http.ResponseWriter, r *http.Request, name string) {
	if name == "" {
		name = "index.html"
	}
	file, known := p.files[name]
	if !known {
		refuse(w, &api.Error{Status: http.StatusNotFound, Err: fmt.Errorf("opening the console: it has no %q", name)}, false)
		return
	}
	w.Header().Set("Content-Type", file.contentType)
	w.Header().Set("ETag", file.tag)
	// Asked for each time, and sent only when it has changed: after an update the
	// parts of the page must fit each other.
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file.content))
}

// asset is a file of the page.
type asset struct {
	content          []byte
	contentType, tag string
}

// contentTypes are those of the page's files. What the system says about them
// differs from one to the next.
var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".json": "application/json",
	".svg":  "image/svg+xml",
	".png":  "image/png",
	".ico":  "image/x-icon",
	".txt":  "text/plain; charset=utf-8",
}

func assets() map[string]asset {
	files := make(map[string]asset)
	err := fs.WalkDir(embedded, "assets", func(name string, entry fs.DirEntry, err error) error {
		contentType := contentTypes[path.Ext(name)]
		if err != nil || entry.IsDir() || contentType == "" {
			return err
		}
		content, err := embedded.ReadFile(name)
		if strings.HasPrefix(contentType, "text/") {
			content = []byte(names.InText(string(content)))
		}
		files[strings.TrimPrefix(name, "assets/")] = asset{
			content: content, contentType: contentType, tag: fmt.Sprintf(`"%x"`, sha256.Sum256(content)),
		}
		return err
	})
	if err != nil {
		panic(err) // the files are in the program
	}
	return files
}

// refuse answers with an error: as JSON to a call of the API, else as text.
func refuse(w http.ResponseWriter, err error, isCall bool) {
	if isCall {
		api.WriteError(w, err)
		return
	}
	known := api.AsError(err)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(known.Status)
	_, _ = fmt.Fprintln(w, known.Error())
}
