package postman

import "fmt"

// Report says in lines what became of a collection: first in numbers, then each
// finding. What stands in the file may stand in the lines.
func (r *Import) Report() []string {
	undefined := 0
	for _, p := range r.Parameters {
		if p.Undefined {
			undefined++
		}
	}
	lines := []string{fmt.Sprintf("%d requests imported, %d left out; %d parameters, of which %d have no value yet",
		len(r.Imported), r.LeftOut, len(r.Parameters), undefined)}
	for _, finding := range r.Findings {
		about := ""
		if finding.Number > 0 {
			about = fmt.Sprintf("%d %q: ", finding.Number, cut(oneLine(finding.Name), 70))
		}
		lines = append(lines, fmt.Sprintf("%-9s %s%s", finding.Kind, about, finding.Text))
	}
	return lines
}
