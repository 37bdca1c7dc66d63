package postman

import "testing"

// TestEscapesWhatIsEmbedded: JSON in the place of another text is escaped for
// JSON too, and what is not well-formed is reported.
func TestEscapesWhatIsEmbedded(t *testing.T) {
	collection, err := Read([]byte(`{"item": [{"name": "a", "request": {"method": "POST",
		"url": "http://127.0.0.1/x?filter={\"n\":\"{{calling_name}}\"}&plain={{calling_name}}",
		"body": {"mode": "urlencoded", "urlencoded": [
			{"key": "payload", "value": "{\"text\":\"from {{calling_name}}\"}"},
			{"key": "broken", "value": "{\"text\":\"from {{calling_name}}"}]}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	imported, err := collection.Import(Options{})
	if err != nil || len(imported.Imported) != 1 {
		t.Fatalf("%+v, %v", imported, err)
	}
	action := imported.Imported[0].Action
	if want := `http://127.0.0.1/x?filter={"n":"{{json_text(calling_name)}}"}`; action.URL != want {
		t.Errorf("the URL is %s, want %s", action.URL, want)
	}
	for i, want := range []string{`{"text":"from {{json_text(calling_name)}}"}`, `{"text":"from {{calling_name}}`} {
		if got := action.Body.Fields[i].Value; got != want {
			t.Errorf("field %d is %s, want %s", i, got, want)
		}
	}
	kinds := map[Kind]int{}
	for _, finding := range imported.Findings {
		kinds[finding.Kind]++
	}
	if kinds[Changed] != 2 || kinds[Flagged] != 1 {
		t.Errorf("the report is %+v", imported.Findings)
	}
}
