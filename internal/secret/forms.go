package secret

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strings"

	"github.com/caddy-event-relay/event-relay/internal/escape"
)

// formsOf returns the forms that a secret takes in the places of a request.
func formsOf(secret string) []string {
	if secret == "" {
		return nil
	}
	jsonForm := string(escape.AppendJSON(nil, secret))
	inXML := string(escape.AppendXML(nil, secret))
	forms := []string{
		secret,
		jsonForm,
		strings.ReplaceAll(jsonForm, "/", `\/`),
		inXML,
		strings.NewReplacer("&quot;", "&#34;", "&apos;", "&#39;").Replace(inXML), // as others write it
		url.QueryEscape(secret),
		url.PathEscape(secret),
	}
	for _, set := range []*escape.Set{escape.Unreserved, escape.Path, escape.Query, escape.QueryName, escape.QueryValue} {
		forms = append(forms, set.Encode(secret))
	}
	for _, form := range slices.Clone(forms) {
		forms = append(forms, escape.LowerPercent(form))
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		forms = append(forms, encoding.EncodeToString([]byte(secret)))
		forms = append(forms, withinBase64(encoding, secret)...)
	}
	return forms
}

// withinBase64 returns what a secret looks like inside a longer text that is in
// base64 (a password behind user name and colon), at each of the three ways it
// can fall on the groups of three bytes. The characters at either end that
// also hold neighbouring bits are left out.
func withinBase64(encoding *base64.Encoding, secret string) []string {
	var forms []string
	for before := range 3 {
		padded := append(make([]byte, before), secret...)
		whole := encoding.EncodeToString(padded)
		from := (before*8 + 5) / 6
		to := len(padded) * 8 / 6
		// Shorter ones would hide text that merely looks alike.
		if to-from >= 6 {
			forms = append(forms, whole[from:to])
		}
	}
	return forms
}
