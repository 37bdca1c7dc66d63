package command

import (
	"io"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

const (
	columnGap = "  "
	// narrowest is how far a cell is cut at most, in characters.
	narrowest = 8
)

// table is text in columns. Cells hold nothing that a terminal would obey.
type table struct {
	header []string
	rows   [][]string
	// below holds, by its row, a text on a line of its own below the row.
	below map[int]string
	// cut are the columns that may be cut where a line must fit a terminal.
	cut []int
	// widths are those of the columns once they are known, and most is what
	// lines must fit, 0 for nothing.
	widths []int
	most   int
}

func newTable(header ...string) *table { return &table{header: header} }

// cutting says which columns may be cut, by their headers.
func (t *table) cutting(headers ...string) *table {
	for i, header := range t.header {
		for _, h := range headers {
			if h == header {
				t.cut = append(t.cut, i)
			}
		}
	}
	return t
}

// add adds a row. An empty cell shows as a dash.
func (t *table) add(cells ...string) { t.rows = append(t.rows, tableRow(cells)) }

// addBelow adds a line below the row that was added last, unless it is empty.
func (t *table) addBelow(text string) {
	if text == "" {
		return
	}
	if t.below == nil {
		t.below = map[int]string{}
	}
	t.below[len(t.rows)-1] = text
}

// lineBelow prints a line that stands below a row.
func (t *table) lineBelow(b *strings.Builder, text string) {
	if text == "" {
		return
	}
	if text = columnGap + oneLine(text); t.most > 0 && columnsOf(text) > t.most {
		text = fitted(text, t.most)
	}
	b.WriteString(text + "\n")
}

// tableRow returns texts as the cells of a row.
func tableRow(texts []string) []string {
	row := make([]string, len(texts))
	for i, text := range texts {
		row[i] = oneLine(text)
	}
	return row
}

// oneLine is a text for a cell.
func oneLine(text string) string {
	if text == "" {
		return "-"
	}
	return strings.ReplaceAll(printable(text), "\t", " ")
}

// write prints the table so that its lines fit a width, 0 for any.
func (t *table) write(w io.Writer, most int) error {
	t.measure(most)
	var b strings.Builder
	t.line(&b, t.header)
	for i, row := range t.rows {
		t.line(&b, row)
		t.lineBelow(&b, t.below[i])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// measure makes the columns as wide as what they hold, and then narrower, the
// widest first, until a line fits.
func (t *table) measure(most int) {
	t.widths, t.most = make([]int, len(t.header)), most
	for _, row := range append([][]string{t.header}, t.rows...) {
		for i, text := range row {
			t.widths[i] = max(t.widths[i], columnsOf(text))
		}
	}
	if most <= 0 {
		return
	}
	for t.total() > most {
		widest := -1
		for _, i := range t.cut {
			if t.widths[i] > narrowest && (widest < 0 || t.widths[i] > t.widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		t.widths[widest]--
	}
}

func (t *table) total() int {
	total := len(columnGap) * (len(t.widths) - 1)
	for _, w := range t.widths {
		total += w
	}
	return total
}

func (t *table) line(b *strings.Builder, row []string) {
	for i, text := range row {
		if i > 0 {
			b.WriteString(columnGap)
		}
		if t.most > 0 && columnsOf(text) > t.widths[i] && slices.Contains(t.cut, i) {
			text = fitted(text, t.widths[i])
		}
		b.WriteString(text)
		if i < len(row)-1 {
			b.WriteString(strings.Repeat(" ", max(0, t.widths[i]-columnsOf(text))))
		}
	}
	b.WriteByte('\n')
}

// fitted cuts a text to a width.
func fitted(text string, most int) string {
	taken := 0
	for at, r := range text {
		if taken+runeColumns(r) > most-1 {
			return text[:at] + "…"
		}
		taken += runeColumns(r)
	}
	return text
}

// columnsOf returns how wide a terminal shows a text.
func columnsOf(text string) int {
	columns := 0
	for _, r := range text {
		columns += runeColumns(r)
	}
	return columns
}

func runeColumns(r rune) int {
	if r < 0x300 {
		return 1
	}
	if unicode.In(r, unicode.Mn, unicode.Me) {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
