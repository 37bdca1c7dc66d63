package database

import "testing"

func TestOldSQLiteIsRefused(t *testing.T) {
	for version, good := range map[string]bool{
		"3.51.3": true, "3.51.4": true, "3.52.0": true, "4.0.0": true, "3.51.2": false, "3.50.9": false, "2.99.99": false, "3.51": false, "": false,
	} {
		if err := checkVersionText(version); (err == nil) != good {
			t.Errorf("version %q gave %v", version, err)
		}
	}
}
