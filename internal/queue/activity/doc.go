// Package activity is what the histories of engines have in common, whatever storage
// they read: the bounds and cursors of pages, the search for a text, the steps of
// counts over time, and who watches what changes.
package activity
