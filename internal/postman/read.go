package postman

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/textencoding"
)

// What a file may hold. The largest of 72 public collections has 6 MB and 2,019
// requests; anything far beyond is no work of people.
const (
	// MaxSize bounds a file, in bytes.
	MaxSize = 32 << 20

	maxRequests = 20_000
	maxFolders  = 64
)

// Collection is a Postman collection as it was read.
type Collection struct {
	name  string
	raw   []byte
	root  document
	items []*item
}

// item is a leaf of the collection: a request, or an entry without one.
type item struct {
	Request
	node     *node
	folders  []*node
	behavior behavior
	request  request
	// missing says that the entry has no request.
	missing bool
}

// Request is a request as lists show it.
type Request struct {
	// Number counts the requests of the collection from 1, folder by folder.
	Number int `json:"number"`
	// Folder is the path of the request's folder, with " / " between names.
	Folder string `json:"folder"`
	Name   string `json:"name"`
	Method string `json:"method"`
	// URL is as the collection has it, tags and all.
	URL string `json:"url"`
}

// Read reads a collection as Postman exports it (v2.0 and v2.1). What is
// something else is refused, with what to do about it.
func Read(data []byte) (*Collection, error) {
	data, err := decodeFile(data)
	if err != nil {
		return nil, fmt.Errorf("reading the collection: %w", err)
	}
	root, err := readDocument(data)
	if err != nil {
		return nil, fmt.Errorf("reading the collection: %w", err)
	}
	if !isAbsent(root.Collection) && !root.hasItems && isAbsent(root.Requests) {
		// Postman's API wraps what its program exports.
		if root, err = readDocument(root.Collection); err != nil {
			return nil, fmt.Errorf("reading the collection: %w", err)
		}
	}
	if err := root.refuse(); err != nil {
		return nil, fmt.Errorf("reading the collection: %w", err)
	}
	c := &Collection{name: textOf(root.Info.Name), raw: data, root: *root}
	if err := c.walk(c.root.Item, nil, c.root.Behavior); err != nil {
		return nil, fmt.Errorf("reading the collection: %w", err)
	}
	return c, nil
}

// decodeFile returns a file's text as UTF-8. Programs on Windows write UTF-16 too.
func decodeFile(data []byte) ([]byte, error) {
	if len(data) > MaxSize {
		return nil, fmt.Errorf("the file is larger than %d MiB, which no collection is", MaxSize>>20)
	}
	return textencoding.ToUTF8(data), nil
}

// readDocument reads a text that is one JSON object.
func readDocument(data []byte) (*document, error) {
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, errors.New("the file is empty")
	}
	if first(data) != '{' {
		return nil, errors.New("the file is no JSON object; export the collection from Postman as Collection v2.1 " +
			"(the directory of YAML files that Postman 12 keeps, v3, is not read)")
	}
	root := new(document)
	var shape *json.UnmarshalTypeError
	if err := json.Unmarshal(data, root); err != nil && !errors.As(err, &shape) {
		return nil, jsonError(data, err)
	}
	var list struct {
		Item   json.RawMessage `json:"item"`
		Values json.RawMessage `json:"values"`
	}
	decode(data, &list)
	root.hasItems, root.hasValues = isList(list.Item), isList(list.Values)
	return root, nil
}

// jsonError says where a file is no JSON.
func jsonError(data []byte, err error) error {
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) {
		return fmt.Errorf("the file is no JSON: %w", err)
	}
	line := bytes.Count(data[:min(int(syntax.Offset), len(data))], []byte("\n")) + 1
	return fmt.Errorf("the file is no JSON, or not all of it: line %d: %w", line, err)
}

// refuse returns an error if the file is no collection that can be read.
func (d *document) refuse() error {
	const export = "export the collection from Postman as Collection v2.1"
	switch {
	case d.hasItems:
		return nil
	case isList(d.Requests):
		return errors.New("this is a collection of version 1; " + export)
	case d.hasValues || !isAbsent(d.Environment):
		return errors.New("this is an environment and no collection; give it as --environment beside the collection")
	case isList(d.Collections):
		return errors.New("this is a backup of several collections; " + export)
	case !isAbsent(d.OpenAPI) || !isAbsent(d.Swagger):
		return errors.New("this is an OpenAPI description; import it into Postman, and " + export)
	case isObject(d.Log):
		return errors.New("this is a HAR file; import it into Postman, and " + export)
	}
	return errors.New("this is no Postman collection: it has no list called item; " + export)
}

// walk collects the requests below a folder.
func (c *Collection) walk(nodes []node, folders []*node, inherited behavior) error {
	if len(folders) > maxFolders {
		return fmt.Errorf("folders stand in one another more than %d deep", maxFolders)
	}
	for i := range nodes {
		n := &nodes[i]
		own := inherited.with(n.Behavior)
		if n.Item != nil {
			// A folder, also if it has a request.
			if err := c.walk(n.Item, append(folders[:len(folders):len(folders)], n), own); err != nil {
				return err
			}
			continue
		}
		if len(c.items) == maxRequests {
			return fmt.Errorf("there are more than %d requests", maxRequests)
		}
		c.items = append(c.items, newItem(len(c.items)+1, n, folders, own))
	}
	return nil
}

func newItem(number int, n *node, folders []*node, own behavior) *item {
	it := &item{node: n, folders: folders, behavior: own, missing: isAbsent(n.Request)}
	names := make([]string, len(folders))
	for i, folder := range folders {
		names[i] = oneLine(textOf(folder.Name))
	}
	if isText(n.Request) {
		it.request.URL = n.Request
	} else {
		decode(n.Request, &it.request)
	}
	it.Number, it.Folder, it.Name = number, strings.Join(names, " / "), oneLine(textOf(n.Name))
	it.Method, it.URL = method(it.request.Method), oneLine(urlText(it.request.URL, asItStands))
	return it
}

// with returns the behaviour below a folder or of a request.
func (b behavior) with(own behavior) behavior {
	if len(own) == 0 {
		return b
	}
	both := make(behavior, len(b)+len(own))
	for name, value := range b {
		both[name] = value
	}
	for name, value := range own {
		both[name] = value
	}
	return both
}

// method returns a request's method, which Postman writes in upper case.
func method(data json.RawMessage) string {
	text := textOf(data)
	if text == "" {
		return "GET"
	}
	return strings.ToUpper(text)
}

// Requests lists the collection's requests. Entries that have none are left out,
// and Import reports them.
func (c *Collection) Requests() []Request {
	list := make([]Request, 0, len(c.items))
	for _, it := range c.items {
		if !it.missing {
			list = append(list, it.Request)
		}
	}
	return list
}

// Environment is a Postman environment: values for variables.
type Environment struct{ values []variableEntry }

// ReadEnvironment reads an environment, or globals, as Postman exports them.
func ReadEnvironment(data []byte) (*Environment, error) {
	data, err := decodeFile(data)
	if err != nil {
		return nil, fmt.Errorf("reading the environment: %w", err)
	}
	root, err := readDocument(data)
	if err == nil && isObject(root.Environment) {
		root, err = readDocument(root.Environment)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the environment: %w", err)
	}
	if root.hasItems || isObject(root.Collection) {
		return nil, errors.New("reading the environment: this is a collection; the environment is the file that Postman exports from Environments")
	}
	if !root.hasValues {
		return nil, errors.New("reading the environment: this is no Postman environment: it has no list called values")
	}
	return &Environment{values: root.Values}, nil
}

// oneLine returns a text for a line of a list: control characters are blanks.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }), " ")
}
