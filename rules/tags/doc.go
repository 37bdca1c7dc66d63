// Package tags cuts a template into literal text and tags, {{ expression }}, and says
// where one is wrong. What a value becomes in its place is the business of those who
// render: handlers/forward/template for requests.
package tags
