package main

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

// TestResults has three steps: a test that is skipped and run later, one that is
// never run, and one that fails.
func TestResults(t *testing.T) {
	const events = `{"Action":"run","Package":"p","Test":"TestPage"}
{"Action":"output","Package":"p","Test":"TestPage","Output":"=== RUN   TestPage\n"}
{"Action":"output","Package":"p","Test":"TestPage","Output":"    page_test.go:12: there is no browser\n"}
{"Action":"output","Package":"p","Test":"TestPage","Output":"--- SKIP: TestPage (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestPage","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestDisk","Output":"    disk_test.go:7: mounting: not allowed\n"}
{"Action":"skip","Package":"p","Test":"TestDisk","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestGood","Output":"    good_test.go:7: as it should be\n"}
{"Action":"pass","Package":"p","Test":"TestGood","Elapsed":0}
{"Action":"output","Package":"p","Test":"TestBad","Output":"    bad_test.go:7: one is not two\n"}
{"Action":"fail","Package":"p","Test":"TestBad","Elapsed":0}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p","Elapsed":0.1}
{"Action":"skip","Package":"no/tests","Elapsed":0}
`
	var printed, kept bytes.Buffer
	if err := follow(strings.NewReader(events), &printed, &kept, false); err != nil {
		t.Fatal(err)
	}
	if want := "    bad_test.go:7: one is not two\nFAIL\nFAIL\tp\t0.1s\n"; printed.String() != want {
		t.Errorf("printed %q, want %q", &printed, want)
	}
	const later = `{"Action":"pass","Package":"p","Test":"TestPage","Elapsed":1}` + "\n"
	if err := follow(strings.NewReader(later), &printed, &kept, false); err != nil {
		t.Fatal(err)
	}
	lines, ran, err := unrun(&kept)
	if want := []string{"p TestDisk: mounting: not allowed"}; err != nil || !reflect.DeepEqual(lines, want) || ran != 3 {
		t.Errorf("skipped: %q, ran: %d, %v; want %q and 3", lines, ran, err, want)
	}
}

// TestPanicIsPrinted has a package end before its test does.
func TestPanicIsPrinted(t *testing.T) {
	const events = `{"Action":"output","Package":"p","Test":"TestX","Output":"panic: no\n"}
{"Action":"fail","Package":"p","Elapsed":0.1}
`
	var printed, kept bytes.Buffer
	if err := follow(strings.NewReader(events), &printed, &kept, false); err != nil || printed.String() != "panic: no\n" {
		t.Errorf("printed %q, %v", &printed, err)
	}
}

// TestLeftOut has runs of which nothing may be left out.
func TestLeftOut(t *testing.T) {
	const skipped = `{"Action":"skip","Package":"p","Test":"TestDisk","Output":"    disk_test.go:7: mounting: not allowed\n"}` + "\n"
	const passed = `{"Action":"pass","Package":"p","Test":"TestGood"}` + "\n"
	for results, want := range map[string]string{
		"": "no test ran", skipped: "p TestDisk: mounting: not allowed", passed + skipped: "p TestDisk: mounting: not allowed", passed: "",
	} {
		err := leftOut(strings.NewReader(results))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q gave %v, want %q", results, err, want)
		}
	}
}
