package language

import (
	"reflect"
	"strings"
	"testing"
)

// The functions for templates, with absent and odd values. An errorText is part
// of the message of an error, at load or when the value is asked for.
func TestTemplateFunctions(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for source, want := range map[string]any{
		`digits("+44 (0)20 7946-0018")`: "4402079460018", `digits("+44 (0)20 7946-0018", "+")`: "+4402079460018",
		`digits("(+44) 20", "+")`: "+4420", `digits("44+20", "+")`: "4420", `digits("0044", "+")`: "0044", `digits(45)`: "45", `digits(body.id)`: "9007199254740993",
		`digits("anonymous")`: nil, `digits("")`: nil, `digits("+", "+")`: nil, `digits(caller_id)`: nil, `digits("٤٥")`: nil, `digits("\r\n4\u00005")`: "45",
		`digits("anonymous") ?? "none"`: "none", `digits(body.price)`: errorText("whole number"), `digits(body.list)`: errorText("not a list"),
		`digits(true)`: errorText("not true or false"), `digits(body.text, "-")`: errorText(`must be "+"`), `digits(body.text, body.text)`: errorText(`must be "+"`), `digits("45", caller_id)`: nil,

		`default(caller_id, "none")`: "none", `default("", "none")`: "none", `default(" \t", 1)`: int64(1), `default(trim(" "), body.text)`: "Ärger",
		`default("x", "none")`: "x", `default(0, 1)`: int64(0), `default(false, true)`: false, `default(caller_id, caller_id)`: nil, `default(body.list, 1)`: []any{int64(3), int64(1), int64(2)},

		`hmac_sha256("what do ya want for nothing?", "Jefe")`:           "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
		`hmac_sha256("what do ya want for nothing?", "Jefe", "base64")`: "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=",
		`hmac_sha256(45, "k") == hmac_sha256("45", "k")`:                true, `hmac_sha256(caller_id, "k")`: nil, `hmac_sha256("a", caller_id)`: nil,
		`hmac_sha256("", "k") != ""`: true, `hmac_sha256("a", "")`: errorText("the secret is empty"), `hmac_sha256("a", 1)`: errorText("not a number"), `hmac_sha256(body.text, "k", "md5")`: errorText(`must be "hex" or "base64"`),

		`format_time(unix_time, "2006-01-02 15:04", "Europe/London")`: "2026-03-13 10:41", `format_time(unix_time, "2006-01-02 15:04")`: "2026-03-13 10:41",
		`format_time(1784112000, "02.01.2006 15:04 MST", "Europe/Berlin")`: "15.07.2026 12:40 CEST", `format_time("1784112000", "15:04")`: "10:40", `format_time(1784112000.99, "15:04:05")`: "10:40:00",
		`format_time("2026-03-13T23:30:00-05:00", "Mon 2 Jan 2006", "Asia/Tokyo")`: "Sat 14 Mar 2026", `format_time(received, time == "10:41:58" ? "15:04" : "3PM")`: "10:41",
		`format_time(now(), "2006") > "2025"`: true, `format_time(-1, "2006")`: "1969", `format_time("2026-03-13", "January")`: "March",
		`format_time(caller_id, "2006")`: nil, `format_time(unix_time, caller_id)`: nil, `format_time(unix_time, "2006", caller_id)`: nil,
		`format_time(unix_time, "%Y-%m-%d")`: errorText("2 January 2006"), `format_time(unix_time, "Y-m-d H:i")`: errorText("2 January 2006"), `format_time(unix_time, "")`: errorText("2 January 2006"),
		`format_time(unix_time, "2006", "Europe/Lodnon")`: errorText("time zone"), `format_time(unix_time, "2006", "../../etc/passwd")`: errorText("time zone"), `format_time(unix_time, "2006", 1)`: errorText("not a number"), `format_time(unix_time, 1)`: errorText("not a number"),
		`format_time(1784112000000, "2006")`: errorText("divided by 1000"), `format_time(body.huge, "2006")`: errorText("seconds since 1970"), `format_time("yesterday", "2006")`: errorText("not a date"),
		`format_time(true, "2006")`: errorText("not true or false"), `format_time(body.list, "2006")`: errorText("not a list"),
	} {
		got, _, err := evaluate(t, l, source)
		if part, isError := want.(errorText); isError {
			if err == nil || !strings.Contains(err.Error(), string(part)) {
				t.Errorf("`%s`: got %v and error %v, want an error with %q", source, got, err, part)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("`%s`: got %#v, %v; want %#v", source, got, err, want)
		}
	}
}

// What is wrong with the arguments that are written out is said at load.
func TestFunctionArgumentsAreCheckedAtLoad(t *testing.T) {
	l := newLanguage(t, typicalDefinitions())
	for _, source := range []string{
		`format_time(unix_time, "%d.%m.%Y")`, `format_time(unix_time, "2006", "Mars/Base")`, `digits(caller_id, "x")`, `hmac_sha256(raw_body, "k", "sha1")`,
	} {
		if _, err := l.Compile(source); err == nil || !strings.Contains(err.Error(), source) {
			t.Errorf("`%s`: %v", source, err)
		}
	}
}
