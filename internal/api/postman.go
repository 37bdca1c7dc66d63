package api

import (
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/postman"
)

// postmanBody bounds a request with a collection and an environment, which JSON
// may make half as long again.
const postmanBody = 2*postman.MaxSize + smallBody

// PostmanRequest is a request of a collection, to choose from.
type PostmanRequest struct {
	// Number is from 1 and chooses the request, as its path does if no other has
	// the same: FOLDER/NAME.
	Number int    `json:"number"`
	Path   string `json:"path"`
	Method string `json:"method"`
	URL    string `json:"url"`
	// Importable says that it can become an action, Why why it cannot.
	Importable bool   `json:"importable"`
	Why        string `json:"why,omitempty"`
}

// PostmanImport is what a collection became.
type PostmanImport struct {
	Requests []PostmanRequest `json:"requests"`
	// Caddyfile is the text to import into the event_relay block, empty if only
	// the list was requested.
	Caddyfile string   `json:"caddyfile,omitempty"`
	Notes     []string `json:"notes"`
}

func importPostman(c *call) (any, error) {
	var wanted struct {
		Collection  string   `json:"collection"`
		Environment string   `json:"environment"`
		Choose      []string `json:"choose"`
		Prefix      string   `json:"prefix"`
		List        bool     `json:"list"`
	}
	if err := c.decode(postmanBody, &wanted); err != nil {
		return nil, err
	}
	collection, err := postman.Read([]byte(wanted.Collection))
	if err != nil {
		return nil, wrong("collection", "%w", err)
	}
	options := postman.Options{Prefix: wanted.Prefix}
	if wanted.Environment != "" {
		if options.Environment, err = postman.ReadEnvironment([]byte(wanted.Environment)); err != nil {
			return nil, wrong("environment", "%w", err)
		}
	}
	// All are converted to find out which can be.
	all, err := collection.Import(options)
	if err != nil {
		return nil, wrong("prefix", "%w", err)
	}
	answer := PostmanImport{Requests: postmanRequests(collection, all), Notes: all.Report()}
	if wanted.List {
		return answer, nil
	}
	chosen := all
	if len(wanted.Choose) > 0 {
		options.Select = wanted.Choose
		if chosen, err = collection.Import(options); err != nil {
			return nil, wrong("choose", "%w", err)
		}
	}
	answer.Notes = chosen.Report()
	if answer.Caddyfile, err = chosen.Caddyfile(); err != nil {
		return nil, wrong("collection", "writing the actions: %w", err)
	}
	return answer, nil
}

func postmanRequests(collection *postman.Collection, all *postman.Import) []PostmanRequest {
	importable := make(map[int]bool)
	for _, imported := range all.Imported {
		importable[imported.Number] = true
	}
	why := make(map[int]string)
	for _, finding := range all.Findings {
		if finding.Kind == postman.LeftOut && why[finding.Number] == "" {
			why[finding.Number] = finding.Text
		}
	}
	requests := []PostmanRequest{}
	for _, r := range collection.Requests() {
		path := r.Name
		if r.Folder != "" {
			path = strings.ReplaceAll(r.Folder, " / ", "/") + "/" + r.Name
		}
		request := PostmanRequest{Number: r.Number, Path: path, Method: r.Method, URL: r.URL, Importable: importable[r.Number]}
		if !request.Importable {
			request.Why = why[r.Number]
		}
		requests = append(requests, request)
	}
	return requests
}
