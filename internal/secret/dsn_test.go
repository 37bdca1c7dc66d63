package secret

import (
	"strings"
	"testing"
)

func TestDSN(t *testing.T) {
	for dsn, want := range map[string]string{
		"":               "",
		"{env.RELAY_DB}": "{env.RELAY_DB}",
		"{file./run/db}": "{file./run/db}",
		"postgres://relay:HIDDEN@db1,db2:5433/relay?target_session_attrs=read-write&connect_timeout=3": "postgres://relay:***@db1,db2:5433/relay?target_session_attrs=read-write&connect_timeout=3",
		"postgresql://relay@[::1]:5432/relay?sslmode=require&sslpassword=HIDDEN":                       "postgresql://relay@[::1]:5432/relay?sslmode=require&sslpassword=***",
		"postgres:///relay?host=/run/postgresql&user=relay&pass%77ord=HIDDEN":                          "postgres:///relay?host=/run/postgresql&user=relay&pass%77ord=***",
		"postgres://relay:HIDDEN%40x@db/relay":                                                         "postgres://relay:***@db/relay",
		"postgres://db/relay?password=HIDDEN&HIDDEN&host=db":                                           "postgres://db/relay?password=***&***&host=db",
		"postgres://db/relay?password=a&HIDDEN=HIDDEN":                                                 "postgres://db/relay?password=***&***",
		"postgres://db/relay?options=-c%20x=HIDDEN":                                                    "postgres://db/relay?***",
		// Nothing is certain where a password holds what divides a URL, or the host is
		// missing.
		"postgres://relay:HID@DEN@db/relay":                                    "***",
		"postgres://relay:HID/DEN@db/relay":                                    "***",
		"postgres://relay:HIDDEN/relay":                                        "***",
		"postgres://relay:HID?x/DEN@db/r":                                      "***",
		"postgres://a@relay:HIDDEN:5@db":                                       "***",
		"host=db1,db2 user=relay password=HIDDEN dbname=relay sslmode=require": "host=db1,db2 user=relay password=*** dbname=relay sslmode=require",
		`password='HID DEN\'s' host=db`:                                        "password=*** host=db",
		`user = relay password = HIDDEN\ HIDDEN`:                               "user=relay password=***",
		"host=db password=HID DEN dbname=x":                                    "***",
		"host=db password='HIDDEN":                                             "***",
		"host=db password=a HIDDEN=b":                                          "***",
		"password=":                                                            "password=***",
		"HIDDEN":                                                               "***",
		"mysql://relay:HIDDEN@db/relay":                                        "***",
		"options='-c x=HIDDEN' host=db":                                        "*** host=db",
	} {
		got := DSN(dsn)
		if got != want {
			t.Errorf("%s becomes %s, want %s", dsn, got, want)
		}
		if again := DSN(got); again != got {
			t.Errorf("%s becomes %s the second time", got, again)
		}
	}
}

// FuzzDSN puts a password where passwords stand. Whatever is in it, neither its
// beginning nor its end is left.
func FuzzDSN(f *testing.F) {
	for _, middle := range []string{"", "@", "/", "?", ":", "@h/", "@h:5/d?", "#", "%", "[", "]", ",", "\x00", "*** "} {
		f.Add(middle)
	}
	f.Fuzz(func(t *testing.T, middle string) {
		// What follows these is another parameter, as libpq reads it.
		if strings.ContainsAny(middle, "&= \t\n\r\v\f'\\") {
			t.Skip()
		}
		password := "HIDDEN" + middle + "HIDDEN"
		for _, dsn := range []string{
			"postgres://relay:" + password + "@db:5432/relay", "postgres://db/relay?password=" + password + "&sslmode=require",
			"host=db password=" + password + " dbname=relay", "host=db password='" + password + "'", password,
		} {
			got := DSN(dsn)
			if strings.Contains(got, "HIDDEN") {
				t.Errorf("%q becomes %q", dsn, got)
			}
			if again := DSN(got); again != got {
				t.Errorf("%q becomes %q, and %q the second time", dsn, got, again)
			}
		}
	})
}
