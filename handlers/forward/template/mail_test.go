package template

import (
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/caddy-event-relay/event-relay/internal/config"
	"github.com/caddy-event-relay/event-relay/internal/event"
	"github.com/caddy-event-relay/event-relay/internal/event/eventtest"
)

// aMail is a mail that loads, with changes.
func aMail(change func(m *config.Mail)) config.Action {
	m := &config.Mail{Server: "mail.lan", From: "Relay <relay@studio.example>", To: []string{"anna@studio.example"}, Subject: "{{body.v}}", Text: "{{body.v}}"}
	if change != nil {
		change(m)
	}
	return config.Action{Mail: m}
}

func mailOf(t testing.TB, set *Set, e *event.Event) (*Mail, error) {
	t.Helper()
	rendered, err := set.Render(e, testDelivery)
	if err != nil {
		if rendered != nil {
			t.Fatalf("an error comes with %v", rendered)
		}
		return nil, err
	}
	return rendered.(*Mail), nil
}

func TestRenderMail(t *testing.T) {
	action := aMail(func(m *config.Mail) {
		m.Server = "{{smtp}}"
		m.From = `"{{body.name}}, relay" <relay@{{domain}}>`
		m.To = []string{"Ott, Ben <ben@x.example>, anna@Studio.Example", "{{ lower(body.email) }}", "{{body.absent}}"}[1:]
		m.To = append(m.To, `"Ott, Ben" <ben@x.example>, Anna Müller <anna@Studio.Example>`)
		m.CC = []string{"{{body.name}} <{{body.email}}>"}
		m.BCC = []string{"{{everyone}}"}
		m.ReplyTo = "{{body.customer}}"
		m.Subject = "{{body.name}}: {{body.status}}"
		m.Text = "{{body.name}} is <{{body.status}}> & {{body.absent}}."
		m.HTML = `<a href="{{body.link}}" title={{body.name}}>{{body.name}}</a>`
		m.Recipients = []string{"STUDIO.example", "müller.example"}
	})
	action.Auth = &config.ActionAuth{Kind: config.AuthBasic, User: "relay", Password: "{{studio_password}}"}
	set := compiled(t, action, config.Parameter{Name: "smtp", Value: "smtps://Mail.LAN:4650"}, config.Parameter{Name: "domain", Value: "studio.example"},
		config.Parameter{Name: "everyone", Value: "a@x.example, b@y.example"})
	m, err := mailOf(t, set, decoded(t, `{"name": "B\r\n\"ob\" <x>", "status": "a\nb", "email": "ANNA@müller.example", "customer": "o'brien+x@else.example", "link": "javascript:alert(1)"}`))
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%s %s %s:%s\nfrom %q\nto %q\ncc %q\nbcc %q\nanswers %q\n%s\n%s\n%s\n%q", m.Server, m.StartTLS, m.User, m.Password,
		m.From, m.To, m.Cc, m.Bcc, *m.ReplyTo, m.Subject, m.Text, m.HTML, m.Empty())
	want := `smtps://mail.lan:4650 auto relay:pass word+1
from {"B \"ob\" <x>, relay" "relay@studio.example"}
to [{"" "anna@xn--mller-kva.example"} {"Ott, Ben" "ben@x.example"} {"Anna Müller" "anna@studio.example"}]
cc [{"B \"ob\" <x>" "ANNA@xn--mller-kva.example"}]
bcc [{"" "a@x.example"} {"" "b@y.example"}]
answers {"" "o'brien+x@else.example"}
B "ob" <x>: a b
` + "B\r\n\"ob\" <x> is <a\nb> & .\n" + `<a href="#ZgotmplZ" title=B&#13;&#10;&#34;ob&#34;&#32;&lt;x&gt;>B` + "\r\n" + `&#34;ob&#34; &lt;x&gt;</a>
["body.absent"]`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if m.ID != testDelivery || m.Event == "" || m.Test {
		t.Errorf("got %q, %q, %v", m.ID, m.Event, m.Test)
	}
	shown := m.String()
	for _, part := range []string{"MAIL smtps://mail.lan:4650\nAuth: relay ***\nFrom: ", `To: anna@xn--mller-kva.example, "Ott, Ben" <ben@x.example>, Anna Müller <anna@studio.example>`,
		"Bcc: a@x.example, b@y.example", "Reply-To: o'brien+x@else.example", "Subject: B \"ob\" <x>: a b", "Message-ID: <" + testDelivery + "@studio.example>\n\nB\r\n"} {
		if !strings.Contains(shown, part) {
			t.Errorf("%s is not shown in\n%s", part, shown)
		}
	}
	if strings.Contains(shown, testPassword) {
		t.Error("the password is shown")
	}
}

// What the configuration says wrong is found when it is loaded.
func TestMailErrors(t *testing.T) {
	of := func(change func(m *config.Mail)) config.Action { return aMail(change) }
	to := func(list ...string) config.Action { return of(func(m *config.Mail) { m.To = list }) }
	server := func(text string) config.Action { return of(func(m *config.Mail) { m.Server = text }) }
	html := func(text string) config.Action { return of(func(m *config.Mail) { m.HTML = text }) }
	auth := func(user, password string) config.Action {
		action := of(nil)
		action.Auth = &config.ActionAuth{Kind: config.AuthBasic, User: user, Password: password}
		return action
	}
	for _, c := range []struct {
		action config.Action
		want   string // "" for none
	}{
		{of(nil), ""},
		{server("smtp://mail.lan"), ""},
		{server("SMTPS://[fd00::1]:465/"), ""},
		{server("{{smtp}}"), ""},
		{server("http://mail.lan"), `mail: the server must be a host, or begin with smtp:// or smtps://, not "http://mail.…"`},
		{server("smtp://mail.lan/x"), "mail: a server is a host and perhaps a port, with nothing behind them"},
		{server("smtp://u:p@mail.lan"), "mail: user and password do not stand in the server: write auth basic in the action"},
		{server("mail.lan:0"), "mail: port 0 is not between 1 and 65535"},
		{server("mail lan"), "mail: reading host and port"},
		{server("smtp://{{secret_list}}"), "mail: with the parameters put in, host and port are not valid"},
		{server("{{body.v}}"), "mail: {{body.v}} comes with the event and may not choose the mail server"},
		{server("mail.lan:{{body.v}}"), "may not choose the mail server"},
		{of(func(m *config.Mail) { m.Server, m.StartTLS = "smtps://mail.lan", config.StartTLSRequired }), "starttls is for smtp://"},
		{of(func(m *config.Mail) { m.From = "{{body.v}}" }), "from: {{body.v}} comes with the event and may not choose the sender"},
		{of(func(m *config.Mail) { m.From = "x <{{body.v}}@studio.example>" }), "may not choose the sender"},
		{of(func(m *config.Mail) { m.From = "{{body.v}} <relay@studio.example>" }), ""},
		{of(func(m *config.Mail) { m.From = "a@x.example, b@x.example" }), "from: a mail has one sender"},
		{of(func(m *config.Mail) { m.From = "relay" }), `from: "relay" is no mail address`},
		{of(func(m *config.Mail) { m.ReplyTo = "a@x.example, b@x.example" }), "reply_to: answers go to one address"},
		{of(func(m *config.Mail) { m.ReplyTo = "{{body.v}}" }), ""},
		{to("anna@studio.example", "Anna <anna@studio.example>"), ""},
		{to("anna"), `to: "anna" is no mail address, such as anna@studio.example`},
		{to("anna@studio .example"), "is no mail address"},
		{to("anna@studio_.example"), `to: "anna@studio_.example" is no mail address: what stands behind the @ is no domain`},
		{to("a@x.example\r\nBcc: b@y.example"), "is no mail address"},
		{to("{{secret_list}}"), "to: with the parameters put in, this is no address such as"},
		{to("{{body.v}}"), "to: {{body.v}} comes with the event and may not choose a recipient; to allow addresses of a domain, add to the block of mail: recipients DOMAIN"},
		{to("{{body.v}}@studio.example"), "may not choose a recipient"},
		{to("{{body.v}} <anna@studio.example>"), ""},
		{to("{{body.v}} <anna@studio.example>, ben@studio.example"), "to: beside a value of the event there can be one address only"},
		{to("anna@studio.example {{body.v}}"), "one address only"},
		{html("<p>{{body.v}}</p>"), ""},
		{html("<!-- {{body.v}} --><p>{{caller_id}}</p>"), ""},
		{html("<p>\n<a href='x{{body.v}}"), "html: the HTML ends within a tag, an attribute, a style or a script"},
		{html("<{{body.v}}>"), ""},
		{html("<a {{body.v}}"), "html: the HTML ends within a tag"},
		{html("<a {{ upper(body.v) }}=x>\n<a {{body.v}}'>"), `html: "'" in attribute name`},
		{html("\x02{{body.v}}"), "html: the text holds a control character"},
		{html("{{studio_token}}<a {{body.v}}"), "html: with the parameters put in, there is a value in a place"},
		{auth("relay", "{{body.v}}"), "auth: {{body.v}} comes with the event and may not be what a mail server is shown"},
		{auth("relay", "a\nb"), "auth: user or password hold a character"},
		{of(func(m *config.Mail) { m.Subject = "{{ verbatim(body.v) }}" }), "verbatim is for the values of a body"},
		{of(func(m *config.Mail) { m.Subject = "{{no_such}}" }), "no_such in action test, subject"},
	} {
		action := c.action
		action.Name, action.Place = "test", "Caddyfile:7"
		_, err := Compile([]config.Action{action}, testLanguage(t, config.Parameter{Name: "smtp", Value: "mail.lan"},
			config.Parameter{Name: "secret_list", Value: "{env.not an address}"}), Settings{})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: got %v\nwant %s", *c.action.Mail, err, c.want)
		}
		if err != nil && (strings.Contains(err.Error(), testToken) || strings.Contains(err.Error(), "not an address")) {
			t.Errorf("the error shows a secret: %v", err)
		}
	}
}

// An event chooses no recipient outside of the domains that are listed, and never more
// than one.
func TestRecipients(t *testing.T) {
	outside := "whose domain is not among the recipients of the mail; not sent: if mail may go there for any event, add the domain to the line recipients"
	for _, c := range []struct{ template, value, want string }{
		{"{{body.v}}", "anna@studio.example", "anna@studio.example"},
		{"{{body.v}}", " anna@STUDIO.example ", "anna@studio.example"},
		{"{{body.v}}", "o'brien+tag.x_1@studio.example", "o'brien+tag.x_1@studio.example"},
		{"{{body.v}}", "", ""},
		{"{{body.v}}", "eve@else.example", outside},
		{"{{body.v}}", "eve@sub.studio.example", outside},
		{"{{body.v}}", "eve@studio.example.else", outside},
		{"{{body.v}}", "eve@studio.example@else.example", "no mail address"},
		{"{{body.v}}", "anna@studio.example,eve@else.example", "no mail address"},
		{"{{body.v}}", "anna@studio.example, ben@studio.example", "no mail address"},
		{"{{body.v}}", "anna@studio.example;ben@studio.example", "no mail address"},
		{"{{body.v}}", "anna@studio.example ben@studio.example", "no mail address"},
		{"{{body.v}}", "anna@studio.example\r\nRCPT TO:<eve@else.example>", "no mail address"},
		{"{{body.v}}", "Anna <anna@studio.example>", "no mail address"},
		{"{{body.v}}", "<anna@studio.example>", "no mail address"},
		{"{{body.v}}", "group: anna@studio.example;", "no mail address"},
		{"{{body.v}}", `"eve@else.example"@studio.example`, "no mail address"},
		{"{{body.v}}", "anna@studio.example(x)", "no mail address"},
		{"{{body.v}}", "@else.example:anna@studio.example", "no mail address"},
		{"{{body.v}}", "eve%else.example@studio.example", "no mail address"},
		{"{{body.v}}", "else.example!eve@studio.example", "no mail address"},
		{"{{body.v}}", "|sh@studio.example", "no mail address"},
		{"{{body.v}}", "-oQ/tmp@studio.example", "no mail address"},
		{"{{body.v}}", "anna@[127.0.0.1]", "no mail address"},
		{"{{body.v}}", "anna@studio。example", "anna@studio.example"},
		{"{{body.v}}", "änna@studio.example", "no mail address"},
		{"{{body.v}}", "anna@studio.example.", "no mail address"},
		{"{{body.v}}", "anna", "no mail address"},
		{"{{body.v}}", "@studio.example", "no mail address"},
		{"{{body.v}}", strings.Repeat("a", 65) + "@studio.example", "no mail address"},
		{"{{body.v}}@studio.example", "anna", "anna@studio.example"},
		{"{{body.v}}@studio.example", "eve@else.example", "no mail address"},
		{"{{body.v}}@studio.example", "eve@else.example,ben", "no mail address"},
		{"{{body.v}}@studio.example", "", "no mail address"},
		{"anna@{{body.v}}", "else.example", outside},
		{"anna@{{body.v}}", "studio.example", "anna@studio.example"},
		{"Desk <{{body.v}}>", "anna@studio.example", "Desk anna@studio.example"},
		{"Desk <{{body.v}}>", "x> <eve@else.example", "no mail address"},
		{"{{body.v}} <anna@studio.example>", "eve@else.example, ", "eve@else.example, anna@studio.example"},
		{"{{body.v}} <anna@studio.example>", "<eve@else.example>", "<eve@else.example> anna@studio.example"},
		{"{{body.v}} <anna@studio.example>", "x\r\nBcc: eve@else.example", "x Bcc: eve@else.example anna@studio.example"},
		{`"{{body.v}}" <anna@studio.example>`, `x" <eve@else.example>, "`, `x" <eve@else.example>, " anna@studio.example`},
	} {
		set := compiled(t, aMail(func(m *config.Mail) {
			m.To, m.CC, m.Recipients = []string{c.template}, []string{"copy@studio.example"}, []string{"studio.example"}
		}))
		m, err := mailOf(t, set, eventtest.With(map[string]any{"v": c.value}))
		var got string
		switch {
		case err != nil:
			got = err.Error()
			if strings.TrimSpace(c.value) != "" && strings.Contains(got, c.value) && !strings.Contains(c.want, c.value) {
				t.Errorf("the error holds the value: %v", err)
			}
			if strings.Contains(got, c.want) && c.want != "" {
				continue
			}
		case len(m.To) > 1 || len(m.Cc) != 1:
			t.Errorf("%s with %q goes to %v and %v", c.template, c.value, m.To, m.Cc)
		case len(m.To) == 1:
			got = strings.TrimSpace(m.To[0].Name + " " + m.To[0].Address)
		}
		if got != c.want {
			t.Errorf("%s with %q: got %q, want %q", c.template, c.value, got, c.want)
		}
	}
}

// A mail for which there is nobody, or nothing to show to the server, is not sent. The
// error says what to fill in.
func TestMailIsNotSent(t *testing.T) {
	byTenants := byTenant("team", "", "200", "leeds@studio.example")
	set := compiled(t, aMail(func(m *config.Mail) {
		m.To, m.BCC, m.Recipients = []string{"{{body.absent}}"}, []string{"{{nobody}}"}, []string{"studio.example"}
	}), config.Parameter{Name: "nobody", Value: ""})
	if _, err := mailOf(t, set, eventtest.With("x")); fmt.Sprint(err) != "to, cc and bcc: the mail has no recipient, because the event has nothing for {{body.absent}}; not sent: fill in parameter nobody VALUE" {
		t.Error(err)
	}
	action := aMail(nil)
	action.Auth = &config.ActionAuth{Kind: config.AuthBasic, User: "relay", Password: "{{nobody}}"}
	if _, err := mailOf(t, compiled(t, action, config.Parameter{Name: "nobody", Value: ""}), eventtest.With("x")); fmt.Sprint(err) != "auth: user or password is empty; not sent: fill in parameter nobody VALUE" {
		t.Error(err)
	}
	set = compiled(t, aMail(func(m *config.Mail) { m.To = []string{"{{team}}"}; m.From = "relay@{{team_domain}}" }), byTenants,
		config.Parameter{Name: "team_domain", Tenants: map[string]string{"200": "leeds.example"}})
	m, err := mailOf(t, set, tenantEvent("200", "x"))
	if err != nil || !slices.Equal(m.To, []mail.Address{{Address: "leeds@studio.example"}}) || m.From.Address != "relay@leeds.example" {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := mailOf(t, set, tenantEvent("300", "x")); err == nil || !strings.Contains(err.Error(), "from: parameter team_domain has no value for tenant \"300\" and no default; not sent") {
		t.Error(err)
	}
}

// FuzzMail looks for a value that sends a mail to an address which the action does not
// name, or that breaks a line of its header.
func FuzzMail(f *testing.F) {
	set := compiled(f, aMail(func(m *config.Mail) {
		m.Subject, m.From = "{{body.v}}: {{body.v}}", "{{body.v}} <relay@studio.example>"
		m.To = []string{"{{body.v}} <anna@studio.example>", "{{body.v}}@studio.example", `"{{body.v}}" <ben@other.example>`}
		m.CC, m.BCC, m.ReplyTo = []string{"{{body.v}}"}, []string{"x <{{body.v}}>", "anna@{{body.v}}"}, "{{body.w}}"
		m.HTML, m.Recipients = `<p title="{{body.v}}">{{body.v}}</p>`, []string{"studio.example"}
	}))
	// One place at a time: a value that is no address keeps the whole mail from being sent.
	var single []*Set
	for _, template := range []string{"{{body.v}}", "{{body.v}}@studio.example", "x <{{body.v}}>", `{{body.v}} <{{body.w}}>`, "anna@{{body.v}}", "a{{body.v}}b@studio.example"} {
		single = append(single, compiled(f, aMail(func(m *config.Mail) { m.To, m.Recipients = []string{template}, []string{"studio.example"} })))
	}
	named := compiled(f, aMail(func(m *config.Mail) { m.To = []string{`"{{body.v}}" <anna@studio.example>`} }))
	for _, value := range append(hostile, "anna@studio.example", "anna@studio.example, eve@x.example", "a@b@studio.example", "<eve@x.example>", "eve@x.example> <", `" <eve@x.example>, "`) {
		f.Add(value, value)
		f.Add(value, "anna@studio.example")
	}
	f.Fuzz(func(t *testing.T, value, other string) {
		e := eventtest.With(map[string]any{"v": value, "w": other})
		for i, set := range append(single, set, named) {
			m, err := mailOf(t, set, e)
			if err != nil {
				if set == named {
					t.Errorf("%q is no name: %v", value, err)
				}
				continue
			}
			written := set.action.Mail
			if len(m.To) > len(written.To) || len(m.Cc) > len(written.CC) || len(m.Bcc) > len(written.BCC) {
				t.Errorf("%q: %d: the mail goes to %v, %v, %v", value, i, m.To, m.Cc, m.Bcc)
			}
			for _, address := range slices.Concat(m.To, m.Cc, m.Bcc, []mail.Address{m.From}) {
				local, domain, _ := strings.Cut(address.Address, "@")
				if domain != "studio.example" && address.Address != "ben@other.example" || local == "" || strings.ContainsFunc(address.Address, unwanted) || strings.ContainsAny(local, "%!|/` ,;:<>()[]\"") {
					t.Errorf("%q: %d: an address is %q", value, i, address.Address)
				}
				if strings.ContainsFunc(address.Name, unicode.IsControl) || len(address.Name) > longestName {
					t.Errorf("%q: %d: a name is %q", value, i, address.Name)
				}
			}
			if m.From.Address != "relay@studio.example" || strings.ContainsFunc(m.Subject, unicode.IsControl) || len(m.Subject) > longestSubject {
				t.Errorf("%q: %d: from %v, subject %q", value, i, m.From, m.Subject)
			}
			if strings.Count(m.HTML, "<") > 2 || strings.Count(m.HTML, `"`) > 2 {
				t.Errorf("%q: %d: %s", value, i, m.HTML)
			}
		}
	})
}

// unwanted reports whether a character stands in no address.
func unwanted(c rune) bool { return c <= ' ' || c >= 0x7f }
