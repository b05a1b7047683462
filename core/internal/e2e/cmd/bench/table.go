package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// table has the results of a comparison.
type table struct {
	name, title string
	sides       []string // the first is the base of the ratios
	notes       []string // notes about the sides
	rows        []row
}

// row is one measurement: the values of the sides, in their order.
type row struct {
	name, unit string
	values     []float64
	aim        aim
}

// ratio is the ratio of one side to the base.
func (r row) ratio(side int) float64 { return r.values[side] / r.values[0] }

// aim is the limit for every side except the base. The zero value is no limit.
type aim struct {
	text string
	met  func(base, value float64) bool
}

func atMost(ratio float64) aim {
	return aim{fmt.Sprintf("<= %.2f x", ratio), func(base, value float64) bool { return value <= ratio*base }}
}

func atLeast(ratio float64) aim {
	return aim{fmt.Sprintf(">= %.2f x", ratio), func(base, value float64) bool { return value >= ratio*base }}
}

// atMostMore is in the unit of the row.
func atMostMore(difference float64, unit string) aim {
	return aim{fmt.Sprintf("<= +%g %s", difference, unit), func(base, value float64) bool { return value <= base+difference }}
}

// result is the JSON object for one side of a row, beside the base.
type result struct {
	Comparison string  `json:"comparison"`
	Name       string  `json:"name"`
	Unit       string  `json:"unit"`
	Side       string  `json:"side"`
	Value      float64 `json:"value"`
	Base       string  `json:"base"`
	BaseValue  float64 `json:"base_value"`
	Ratio      float64 `json:"ratio"`
	Aim        string  `json:"aim,omitempty"`
	Met        *bool   `json:"met,omitempty"` // absent without an aim
}

// results returns the results of all sides except the base.
func (t table) results(r row) []result {
	var results []result
	for i := 1; i < len(t.sides); i++ {
		one := result{
			Comparison: t.name,
			Name:       r.name,
			Unit:       r.unit,
			Side:       t.sides[i],
			Value:      r.values[i],
			Base:       t.sides[0],
			BaseValue:  r.values[0],
			Ratio:      r.ratio(i),
			Aim:        r.aim.text,
		}
		if r.aim.met != nil {
			one.Met = new(r.aim.met(r.values[0], r.values[i]))
		}
		results = append(results, one)
	}
	return results
}

func write(w io.Writer, tables []table, asJSON bool) error {
	for i, t := range tables {
		var err error
		switch {
		case asJSON:
			err = t.writeJSON(w)
		case i > 0:
			_, err = fmt.Fprintf(w, "\n%s", t)
		default:
			_, err = fmt.Fprint(w, t)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t table) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, r := range t.rows {
		for _, result := range t.results(r) {
			if err := enc.Encode(result); err != nil {
				return err
			}
		}
	}
	return nil
}

// String returns the table for people.
func (t table) String() string {
	var text strings.Builder
	text.WriteString(t.title + "\n")
	for _, note := range t.notes {
		text.WriteString("  " + note + "\n")
	}
	tw := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	aims := slices.ContainsFunc(t.rows, func(r row) bool { return r.aim.met != nil })
	cells := []string{"measurement", "unit", t.sides[0]}
	for _, name := range t.sides[1:] {
		cells = append(cells, name, "ratio")
	}
	if aims {
		cells = append(cells, "aim", "met")
	}
	writeLine(tw, cells)
	for _, r := range t.rows {
		cells := []string{r.name, r.unit, fmt.Sprintf("%.1f", r.values[0])}
		for i := 1; i < len(r.values); i++ {
			cells = append(cells, fmt.Sprintf("%.1f", r.values[i]), fmt.Sprintf("%.2f", r.ratio(i)))
		}
		if aims {
			cells = append(cells, r.aim.text, r.verdict())
		}
		writeLine(tw, cells)
	}
	_ = tw.Flush() // writes to memory do not fail
	return text.String()
}

func writeLine(tw *tabwriter.Writer, cells []string) {
	_, _ = io.WriteString(tw, strings.Join(cells, "\t")+"\t\n") // writes to memory do not fail
}

// verdict describes whether all sides keep to the aim.
func (r row) verdict() string {
	if r.aim.met == nil {
		return ""
	}
	for _, value := range r.values[1:] {
		if !r.aim.met(r.values[0], value) {
			return "no"
		}
	}
	return "yes"
}
