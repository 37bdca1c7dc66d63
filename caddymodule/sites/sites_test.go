package sites_test

import "testing"

// TestSureMounts says at which mounts host and path alone decide.
func TestSureMounts(t *testing.T) {
	for _, test := range []struct {
		name, sites string
		want        bool
	}{
		{"a host", "http://a:8081 {\n\tevent_relay /listen.php\n}", true},
		{"no host", "http://:8081 {\n\tevent_relay /listen.php\n}", true},
		{"the whole site", "http://a:8081 {\n\tevent_relay\n}", true},
		{"a named matcher", "http://a:8081 {\n\t@office remote_ip 10.0.0.0/8\n\tevent_relay @office /listen.php\n}", false},
		{"within handle", "http://a:8081 {\n\thandle {\n\t\tevent_relay /listen.php\n\t}\n}", true},
		{"within handle of a path", "http://a:8081 {\n\thandle /in/* {\n\t\tevent_relay\n\t}\n}", false},
		{"within handle_path", "http://a:8081 {\n\thandle_path /in/* {\n\t\tevent_relay /listen.php\n\t}\n}", false},
	} {
		mounts := adaptSites(t, "", test.sites).MountsOf("srv0")
		if len(mounts) != 1 || mounts[0].Sure != test.want {
			t.Errorf("%s: the mounts are %+v", test.name, mounts)
		}
	}
	if mounts := adaptSites(t, "", "http://a:8081 {\n\tevent_relay\n}").MountsOf("none"); mounts != nil {
		t.Errorf("a server that is not there has %+v", mounts)
	}
}
