// Package console is the page for administrators: its files, and the guard that
// decides who may open it. What the page shows and changes, it asks of the API
// under api/.
package console
