package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var tables = []table{
	{
		name: "two", title: "Two sides", sides: []string{"base", "other"}, notes: []string{"other: a note"},
		rows: []row{
			{"time", "us/call", []float64{100, 110}, atMost(1.1)},
			{"rate", "MiB/s", []float64{100, 30}, atLeast(0.35)},
			{"start", "ms", []float64{10, 13}, atMostMore(3, "ms")},
		},
	},
	{
		name: "three", title: "Three sides", sides: []string{"a", "b", "c"},
		rows: []row{{"time", "us/call", []float64{10, 20, 5}, aim{}}},
	},
}

func TestWrite(t *testing.T) {
	var got strings.Builder
	if err := write(&got, tables, false); err != nil {
		t.Fatal(err)
	}
	want := `Two sides
  other: a note
  measurement     unit   base  other  ratio        aim  met
         time  us/call  100.0  110.0   1.10  <= 1.10 x  yes
         rate    MiB/s  100.0   30.0   0.30  >= 0.35 x   no
        start       ms   10.0   13.0   1.30   <= +3 ms  yes

Three sides
  measurement     unit     a     b  ratio    c  ratio
         time  us/call  10.0  20.0   2.00  5.0   0.50
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

func TestWriteJSON(t *testing.T) {
	var got strings.Builder
	if err := write(&got, tables, true); err != nil {
		t.Fatal(err)
	}
	want := `{"comparison":"two","name":"time","unit":"us/call","side":"other","value":110,"base":"base","base_value":100,"ratio":1.1,"aim":"<= 1.10 x","met":true}
{"comparison":"two","name":"rate","unit":"MiB/s","side":"other","value":30,"base":"base","base_value":100,"ratio":0.3,"aim":">= 0.35 x","met":false}
{"comparison":"two","name":"start","unit":"ms","side":"other","value":13,"base":"base","base_value":10,"ratio":1.3,"aim":"<= +3 ms","met":true}
{"comparison":"three","name":"time","unit":"us/call","side":"b","value":20,"base":"a","base_value":10,"ratio":2}
{"comparison":"three","name":"time","unit":"us/call","side":"c","value":5,"base":"a","base_value":10,"ratio":0.5}
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}
