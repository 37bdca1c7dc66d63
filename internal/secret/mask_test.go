package secret

import (
	"strings"
	"testing"
)

const (
	testToken    = `s3cret/"tok&en`
	testPassword = "pass word+1"
)

// No half of a secret stands at a cut.
func TestMaskBeforeCut(t *testing.T) {
	m := New([]string{testToken})
	for length := range 80 {
		text := strings.Repeat("ä", length) + testToken + strings.Repeat("x", 80)
		for _, got := range []string{m.MaskTo(text, 60), m.MaskPart(text[:len(text)-80-3], false, 60)} {
			if len(got) > 60 || strings.Contains(got, "s3c") {
				t.Errorf("after %d: %q", length, got)
			}
		}
	}
}

// Every place where a secret may be repeated masks it, also inside base64.
func TestMaskForms(t *testing.T) {
	m := New([]string{testToken, testPassword, "ab", "https://Hooks.Example/T00/word?x=1\n"})
	for _, text := range []string{
		"s3cret/\"tok&en", "s3cret%2F%22tok%26en", "s3cret%2f%22tok%26en", `s3cret/\"tok&en`, `s3cret\/\"tok&en`, "s3cret/&quot;tok&amp;en",
		"pass+word%2B1", "pass%20word%2B1", "cGFzcyB3b3JkKzE=", "POST https://hooks.example/T00/word?x=1 HTTP", "cGFzcyB3b3JkKzE", "dTpwYXNzIHdvcmQrMQ==",
	} {
		got := m.MaskTo("<"+text+">", 1000)
		if !strings.Contains(got, Masked) || strings.Contains(got, "s3c") || strings.Contains(got, "word") || strings.Contains(got, "3b3Jk") || strings.Contains(got, "IHdvcm") {
			t.Errorf("%s becomes %s", text, got)
		}
	}
}

// Secrets of one request are masked beside the others, also if one holds another.
func TestAnd(t *testing.T) {
	base := New([]string{"word"})
	both := base.And("user:word", "").And("second")
	if got := both.Mask("user:word, word, second"); got != "***, ***, ***" {
		t.Errorf("got %s", got)
	}
	if got := base.Mask("second word"); got != "second ***" {
		t.Errorf("the first Masker was changed: %s", got)
	}
	if base.And(" ") != base || base.And(strings.Repeat("x", longestAdded+1)) != base {
		t.Error("nothing was added, and the Masker is another")
	}
	var none *Masker
	if got := none.And("word").Mask("a word"); got != "a ***" {
		t.Errorf("got %s", got)
	}
}

func TestNoSecrets(t *testing.T) {
	m := New([]string{"", " \n"})
	if m != nil {
		t.Error("blank secrets make a Masker")
	}
	for in, want := range map[string]string{"a b": "a b", "a\xff": "a\ufffd", "ääääää": "ää…"} {
		if got := m.MaskTo(in, 8); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// FuzzMask looks for a text in which a secret is left.
func FuzzMask(f *testing.F) {
	f.Add("a", "s3cret", 10, true)
	f.Add("s3c", "s3cret", 4, false)
	f.Add("é*", "**x", 3, true)
	f.Fuzz(func(t *testing.T, text, secret string, limit int, whole bool) {
		limit = min(max(limit, 3), 1<<10)
		for _, m := range []*Masker{New([]string{secret}), New([]string{"other"}).And(secret)} {
			got := m.MaskPart(text+secret+text, whole, limit)
			if len(got) > limit {
				t.Errorf("%q is longer than %d", got, limit)
			}
			if strings.Trim(secret, " *\n\t\r…") == secret && len(secret) > 3 && !strings.Contains(text, secret[:1]) && strings.ToValidUTF8(secret, "") == secret && len(secret) <= longestAdded && strings.Contains(got, secret) {
				t.Errorf("%q is left in %q", secret, got)
			}
		}
	})
}
