package preset_test

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-event-relay/event-relay/handlers/receive"
	"github.com/caddy-event-relay/event-relay/handlers/receive/auth"
	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/escape"
	"github.com/caddy-event-relay/event-relay/internal/event"
)

var update = flag.Bool("update", false, "write the golden files")

const public = "https://events.studio.example/listen.php"

// posted is a source, and where its events come in.
type posted struct {
	source config.Source
	url    string
}

func credentials(list ...config.Credential) []config.Credential { return list }

func key(in string, name string, values ...string) config.Credential {
	return config.Credential{Kind: auth.APIKey, In: in, Name: name, Values: values}
}

func secret(kind string, values ...string) config.Credential {
	return config.Credential{Kind: kind, Values: values}
}

// setups has sources by what proves their requests.
func setups() map[string]posted {
	erp := config.Source{
		Name: "erp", NameFrom: "body.data.type",
		Events: []config.EventType{{Name: "order_paid", Description: "An order has been paid"}, {Name: "order_cancelled"}},
		Auth: credentials(config.Credential{
			Kind: auth.HMAC, Name: "X-Signature", Algorithm: "sha512", Timestamp: "X-Time", Values: []string{"it's a secret"},
		}),
	}
	return map[string]posted{
		"icfm_query_key": {config.Source{Name: "icfm", Preset: "icfm", Auth: credentials(
			secret(auth.Bearer, "not in the URL"), key(auth.InQuery, "key", "a&b c/ü", "former"),
		)}, public},
		"icfm_open": {config.Source{Name: "icfm", Preset: "icfm", Auth: credentials(secret(auth.None))}, public},
		"icfm_path": {config.Source{Name: "film", Preset: "icfm", Allow: []string{"203.0.113.0/24"}, Auth: credentials(
			secret(auth.Path, "to/ken"),
		)}, "http://localhost:8080/listen.php"},
		"icfm_header": {config.Source{Name: "icfm", Preset: "icfm", Auth: credentials(
			key(auth.InBody, "token", "unusable"), config.Credential{Kind: auth.Basic, User: "ceta", Password: "pa:ss"},
		)}, "http://events.studio.example"},
		"pbx_bearer": {config.Source{Name: "pbx", Preset: "pbxware", Auth: credentials(
			secret(auth.Path), secret(auth.Bearer, "pbx-token"), secret(auth.Path, "pbx-token"),
		)}, public},
		"pbx_path": {config.Source{Name: "pbx", Preset: "pbxware", NameFrom: "query.evt", Auth: credentials(
			secret(auth.Path, ":to/{ken"),
		)}, "https://[2001:db8::1]:8443/a%20b/"},
		"signed":            {erp, public},
		"standard_webhooks": {config.Source{Name: "shop", Auth: credentials(secret(auth.StandardWebhooks, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))}, public},
		"key_in_body":       {config.Source{Name: "aircall", NameFrom: `headers["X-Kind"]`, Auth: credentials(key(auth.InBody, "token", "sesame"))}, public},
		"key_in_header":     {config.Source{Name: "crm", NameFrom: "query.what", Auth: credentials(key(auth.InHeader, "X-Key", "sesame"))}, public},
		"key_in_query":      {config.Source{Name: "crm", NameFrom: "query.what", Auth: credentials(key(auth.InQuery, "key", "sesame"))}, public},
		"open":              {config.Source{Name: "lab", NameFrom: `upper(body.kind)`, Auth: credentials(secret(auth.None))}, public},
	}
}

// TestSetupIsWrittenAsAgreed compares what is handed over with golden files: it
// goes to people, who should read it before it changes.
func TestSetupIsWrittenAsAgreed(t *testing.T) {
	for name, setup := range setups() {
		t.Run(name, func(t *testing.T) {
			handover, err := receive.Setup(setup.source, setup.url).Handover()
			if err != nil {
				t.Fatal(err)
			}
			got := string(handover.Document) + "\n======== notes\n" + handover.Notes
			file := filepath.Join("testdata", "setup", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("it is written\n%s\nnot as in %s; if that is meant, run the test with -update", got, file)
			}
		})
	}
}

// TestSetupShowsASecretOnce counts the secrets, in each form in which a sender
// writes them. The document holds the one that it is about in one place, and the
// notes, which stay on a terminal, do not repeat it. Only a collection has it in
// each of its requests.
func TestSetupShowsASecretOnce(t *testing.T) {
	for name, setup := range setups() {
		t.Run(name, func(t *testing.T) {
			handover, err := receive.Setup(setup.source, setup.url).Handover()
			if err != nil {
				t.Fatal(err)
			}
			document, shown := string(handover.Document), 0
			for _, credential := range setup.source.Auth {
				for _, secret := range credential.Secrets() {
					forms := map[string]bool{
						secret: true, url.PathEscape(secret): true, escape.Unreserved.Encode(secret): true,
						strings.ReplaceAll(secret, "'", `'\''`):                                   true,
						base64.StdEncoding.EncodeToString([]byte(credential.User + ":" + secret)): true,
					}
					for form := range forms {
						inDocument, inNotes := strings.Count(document, form), strings.Count(handover.Notes, form)
						shown += inDocument
						if inNotes > 0 {
							t.Errorf("the notes repeat %s:\n%s", form, handover.Notes)
						}
						if inDocument > 1 && !strings.HasPrefix(document, "{") {
							t.Errorf("the document holds %s %d times:\n%s", form, inDocument, document)
						}
					}
				}
			}
			if open := setup.source.Auth[0].Kind == auth.None; (shown == 0) != open {
				t.Errorf("the document holds a secret %d times:\n%s", shown, document)
			}
		})
	}
}

// TestSetupSaysWhatIsMissing has sources to which no sender could post, and URLs
// that are none.
func TestSetupSaysWhatIsMissing(t *testing.T) {
	hmac := config.Credential{Kind: auth.HMAC, Name: "X-Signature", Algorithm: "sha256", Values: []string{"secret-1"}}
	bearer := credentials(secret(auth.Bearer, "secret-1"))
	for name, c := range map[string]struct {
		setup posted
		want  string
	}{
		"PBX that would have to sign":  {posted{config.Source{Preset: "pbxware", Auth: credentials(hmac)}, public}, "add: auth bearer"},
		"iCFM that would have to sign": {posted{config.Source{Preset: "icfm", Auth: credentials(hmac)}, public}, "add: auth api_key query key"},
		"secret that is a tag":         {posted{config.Source{Preset: "pbxware", Auth: credentials(secret(auth.Bearer, "secret-1{{"))}, public}, "choose another secret"},
		"no credential":                {posted{config.Source{}, public}, "add: auth"},
		"secret that is no base64":     {posted{config.Source{Auth: credentials(secret(auth.StandardWebhooks, "secret-1!"))}, public}, "not base64"},
		"another scheme":               {posted{config.Source{Auth: bearer}, "ftp://events.studio.example"}, "https://"},
		"no host":                      {posted{config.Source{Auth: bearer}, "/listen.php"}, "https://"},
		"query":                        {posted{config.Source{Auth: bearer}, public + "?a=b"}, "leave out"},
		"no URL":                       {posted{config.Source{Auth: bearer}, "https://%zz"}, "reading the URL"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := receive.Setup(c.setup.source, c.setup.url).Handover()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("the error is %v, which does not say %q", err, c.want)
			}
			if strings.Contains(err.Error(), "secret-1") {
				t.Errorf("the error tells the secret: %v", err)
			}
		})
	}
}

// TestCollectionOfThePBX checks what an importer relies on: the shapes of format
// v2.1, one action for each event, and all tags in each.
func TestCollectionOfThePBX(t *testing.T) {
	source := config.Source{Preset: "pbxware", Auth: credentials(secret(auth.Bearer, "pbx-token"))}
	handover, err := receive.Setup(source, public).Handover()
	if err != nil {
		t.Fatal(err)
	}
	var collection struct {
		Info map[string]string
		Item []struct {
			Name    string
			Request struct {
				Method string
				Auth   struct {
					Type   string
					Bearer []struct{ Key, Value, Type string }
				}
				URL struct {
					Raw, Protocol string
					Host, Path    []string
				}
				Body struct {
					Mode       string
					Urlencoded []struct{ Key, Value string }
				}
			}
		}
	}
	if err := json.Unmarshal(handover.Document, &collection); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(collection.Info["schema"], "v2.1.0") || collection.Info["name"] == "" {
		t.Errorf("info is %v", collection.Info)
	}
	declared := map[string]bool{}
	for _, event := range eventsOf("pbxware")[:5] {
		declared[event.Name] = true
	}
	names := map[string]bool{}
	for _, item := range collection.Item {
		request := item.Request
		names[item.Name] = true
		if joined := request.URL.Protocol + "://" + strings.Join(request.URL.Host, ".") + "/" + strings.Join(request.URL.Path, "/"); joined != request.URL.Raw {
			t.Errorf("%s: raw %s, but its parts make %s", item.Name, request.URL.Raw, joined)
		}
		if event := request.URL.Path[len(request.URL.Path)-1]; !declared[event] {
			t.Errorf("%s: event %s is not, or no more, to be named", item.Name, event)
		} else {
			delete(declared, event)
		}
		if len(request.Auth.Bearer) != 1 || request.Auth.Bearer[0].Key != "token" || request.Auth.Bearer[0].Value != "pbx-token" || request.Auth.Type != "bearer" {
			t.Errorf("%s: auth is %+v", item.Name, request.Auth)
		}
		tags := map[string]bool{}
		for _, pair := range request.Body.Urlencoded {
			if pair.Value != "{{"+pair.Key+"}}" {
				t.Errorf("%s: %s is %s", item.Name, pair.Key, pair.Value)
			}
			tags[pair.Key] = true
		}
		for _, parameter := range event.SystemParameters() {
			if !tags[parameter.String()] {
				t.Errorf("%s: tag %s is missing", item.Name, parameter)
			}
		}
		if request.Method != "POST" || request.Body.Mode != "urlencoded" || len(tags) != 13 {
			t.Errorf("%s: method %s, body %s with %d tags", item.Name, request.Method, request.Body.Mode, len(tags))
		}
	}
	if len(names) != 5 || len(declared) != 0 {
		t.Errorf("the actions are %v; no action for %v", names, declared)
	}
}
