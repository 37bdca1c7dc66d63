// Command service makes folder trees for projects. It is called by the relay's
// action create_folders:
//
//	POST /projects
//	Authorization: Bearer …
//	Idempotency-Key: …
//	{"id": 48213, "name": "Nordlicht"}
//
// and makes ROOT/48213_Nordlicht with the folders of a tree in it.
package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode"
)

// tree is what a project's folder gets.
var tree = []string{"01_Offline", "02_Conform", "03_Grade", "04_Sound", "05_Masters"}

// notes is the directory below the root that holds a file for each request that
// was carried out. It begins with a dot so that file browsers hide it.
const notes = ".requests"

func main() {
	root := flag.String("root", "", "the `directory` in which folders are made; it must exist")
	listen := flag.String("listen", "127.0.0.1:9000", "the `address` to listen on")
	flag.Parse()
	service, err := open(*root, os.Getenv("FOLDERS_TOKEN"))
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Addr: *listen, Handler: service, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second}
	log.Printf("making folders below %s, listening on %s", *root, *listen)
	log.Fatal(server.ListenAndServe())
}

// service makes folders below a root. An os.Root cannot be left, neither by ..
// nor by a link.
type service struct {
	root  *os.Root
	token string
}

func open(directory, token string) (*service, error) {
	if token == "" {
		return nil, errors.New("FOLDERS_TOKEN is empty: set it to the token that the relay sends")
	}
	// A root that does not exist is mostly a SAN that is not mounted. Making it
	// would fill the local disk instead.
	root, err := os.OpenRoot(directory)
	if err != nil {
		return nil, fmt.Errorf("opening the root: %w", err)
	}
	if err := root.MkdirAll(notes, 0o755); err != nil {
		return nil, fmt.Errorf("making the directory of notes: %w", err)
	}
	return &service{root: root, token: token}, nil
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// The relay gives up at once on a 4xx, which means that this request can
	// never succeed, and comes again after a 5xx.
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case subtle.ConstantTimeCompare([]byte(token), []byte(s.token)) != 1:
		http.Error(w, "wrong token", http.StatusUnauthorized)
		return
	case r.URL.Path != "/projects":
		http.NotFound(w, r)
		return
	case r.Method != http.MethodPost:
		http.Error(w, "only POST", http.StatusMethodNotAllowed)
		return
	}
	var project struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&project); err != nil {
		http.Error(w, "reading the body: "+err.Error(), http.StatusBadRequest)
		return
	}
	if project.ID <= 0 {
		http.Error(w, "the project has no id", http.StatusUnprocessableEntity)
		return
	}

	key := r.Header.Get("Idempotency-Key")
	if key == "" {
		http.Error(w, "the request has no Idempotency-Key", http.StatusBadRequest)
		return
	}
	note := fmt.Sprintf("%s/%x", notes, sha256.Sum256([]byte(key)))
	if made, err := s.root.ReadFile(note); err == nil {
		// The relay asks once more because it did not hear the answer.
		fmt.Fprintf(w, "made before: %s\n", made)
		return
	}
	folder := folderName(project.ID, project.Name)
	if err := s.make(folder, note); err != nil {
		log.Print(err)
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.WriteHeader(http.StatusCreated)
	fmt.Fprintf(w, "made: %s\n", folder)
}

// make makes a folder with its tree, and notes it when all of it is there: cut
// short, it is made up for by the next attempt.
func (s *service) make(folder, note string) error {
	for _, part := range tree {
		if err := s.root.MkdirAll(folder+"/"+part, 0o775); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making %s: %w", part, err)
		}
	}
	if err := s.root.WriteFile(note, []byte(folder), 0o644); err != nil {
		return fmt.Errorf("noting the request: %w", err)
	}
	return nil
}

// folderName returns the name of a project's folder, within the 255 bytes that
// file systems allow. The id tells projects of the same name, and of no name, from
// each other.
func folderName(id int64, name string) string {
	name = strings.Map(func(r rune) rune {
		// What Windows clients of the SAN cannot show.
		if strings.ContainsRune(`/\:*?"<>|`, r) || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, name)
	if letters := []rune(name); len(letters) > 50 {
		name = string(letters[:50])
	}
	return strings.TrimRight(fmt.Sprintf("%d_%s", id, name), " ._")
}
