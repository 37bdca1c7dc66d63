package receive

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
)

const (
	// maxParts bounds the parts of a multipart body: each costs far more than
	// the few bytes it takes.
	maxParts = 1000
	// maxBoundary bounds a boundary that is taken from the body. The standard
	// says 70.
	maxBoundary = 200
)

// decodeMultipart reads the fields of a form. Of a file it keeps name, size and
// type. Without a boundary, or with one that the body does not use, the body's
// first line is taken for it. On an error the fields before it are returned.
func decodeMultipart(body []byte, boundary string) (map[string]any, error) {
	form := newForm()
	if boundary == "" || !bytes.Contains(body, []byte("--"+boundary)) {
		line, _, _ := bytes.Cut(body, []byte("\n"))
		line = bytes.TrimRight(line, "\r \t")
		found, ok := bytes.CutPrefix(line, []byte("--"))
		if !ok || len(found) == 0 || len(found) > maxBoundary {
			return nil, errors.New("no boundary in the Content-Type, nor in the first line")
		}
		boundary = string(found)
	}
	reader := multipart.NewReader(bytes.NewReader(body), boundary)
	for parts := 0; ; parts++ {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return form.value(), nil
		}
		if err != nil {
			return form.value(), err
		}
		if parts == maxParts {
			return form.value(), fmt.Errorf("more than %d parts", maxParts)
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return form.value(), err
		}
		name := validText(part.FormName())
		if name == "" {
			continue
		}
		if file := part.FileName(); file != "" {
			form.add(name, map[string]any{
				"name": validText(file),
				"size": int64(len(content)),
				"type": validText(part.Header.Get("Content-Type")),
			})
			continue
		}
		_, parameters := parseContentType(part.Header.Get("Content-Type"))
		text := string(content)
		if charset := parameters["charset"]; charset != "" {
			text = string(toUTF8(content, charset))
		}
		form.add(name, validText(text))
	}
}
