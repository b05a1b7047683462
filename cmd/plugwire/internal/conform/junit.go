package conform

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"

	"github.com/plugwire/plugwire/cmd/plugwire/internal/output"
)

// The elements of JUnit's XML, as Jenkins, GitLab and others read them.
type (
	junitSuites struct {
		XMLName xml.Name   `xml:"testsuites"`
		Suite   junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Errors   int         `xml:"errors,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Time    string        `xml:"time,attr"`
		Failure *junitProblem `xml:"failure"`
		Error   *junitProblem `xml:"error"`
		Skipped *junitProblem `xml:"skipped"`
		Output  string        `xml:"system-err,omitempty"`
	}
	junitProblem struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// writeJUnit writes a report as JUnit's XML.
func writeJUnit(w io.Writer, r *Report) error {
	suite := junitSuite{
		Name: "plugwire conform " + r.Kind + " -profile " + r.Profile, Tests: len(r.Results),
		Failures: r.Failed, Errors: r.Errors, Skipped: r.NotApplicable, Time: seconds(r.Seconds),
	}
	for _, result := range r.Results {
		section, name, _ := strings.Cut(result.Rule, "/")
		c := junitCase{Class: "conform." + r.Kind + "." + section, Name: name + ": " + result.Title, Time: seconds(result.Seconds), Output: output.Safe(result.Output)}
		switch result.State {
		case Pass:
		case Failed:
			c.Failure = &junitProblem{output.Safe(result.Seen), output.Safe("expected: " + result.Expected + "\nseen: " + result.Seen + "\nwhat to do: " + result.Advice)}
		case Broken:
			c.Error = &junitProblem{Message: output.Safe(result.Reason)}
		case NotMeant:
			c.Skipped = &junitProblem{Message: output.Safe(result.Reason)}
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(w)
	encoder.Indent("", "  ")
	if err := encoder.Encode(junitSuites{Suite: suite}); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func seconds(s float64) string { return fmt.Sprintf("%.3f", s) }
