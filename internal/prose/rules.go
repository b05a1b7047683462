package prose

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// maxWords is how long a sentence may be. The aim is 25; the rest is for
// sentences that list things.
const maxWords = 35

const (
	ruleLength = "long sentence"
	ruleType   = "type name"
)

// A rule is a pattern that no text may match.
type rule struct {
	name    string
	pattern *regexp.Regexp
	unless  *regexp.Regexp // of what precedes the match and the match: no finding
	advice  string
}

// person is what may stand before "who": a human reader or writer.
const person = `(?i)\b(persons?|people|users?|authors?|readers?|operators?|maintainers?|developers?|someone|anyone|everyone|those|teams?|administrators?|attackers?|customers?|contributors?|members?) who$`

var rules = []rule{
	{"who", regexp.MustCompile(`(?i)(?:^|[^/\pL])who\b`), regexp.MustCompile(person), `name the actor: "the host that", "which peer"`},
	{"whom", regexp.MustCompile(`(?i)\b(whom|whoever|whomever|whose turn)\b`), nil, `name the actor: host, plugin, caller, peer, reader`},
	{"somebody", regexp.MustCompile(`(?i)\b(somebody|anybody|everybody)\b`), nil, `name the actor: host, plugin, caller, peer, reader`},
	{"he", regexp.MustCompile(`(?i)\b(he|him|his|himself)\b`), nil, `"it" for a process, "they" for a person`},
	{"had", regexp.MustCompile(`(?i)\b(be|been) had\b`), nil, `"is not available", "cannot be opened"`},
	{"twice", regexp.MustCompile(`(?i)\b(stands?|comes?|is there) twice\b`), nil, `"duplicate"`},
	{"for ever", regexp.MustCompile(`(?i)\bfor ever\b`), nil, `"forever", "never ends", "blocks without a bound"`},
	{
		"is no", regexp.MustCompile(`(?i)\b(is|are|was|were|be) no (name|error|failure|problem|plugin|host|option|protocol|process|answer|way of|number|file|directory|path|reason|user|secret|difference|promise|[a-z-]+ of)\b`),
		regexp.MustCompile(`(?i)\b(there|where) (is|are|was|were|may be|must be|can be|will be) no ([a-z-]+ )*[a-z-]+$`), `"is not a valid ...", "is not an error"`,
	},
	{"as above", regexp.MustCompile(`(?i)\b(as (above|below|before|it is to be|it should be)|the above|of that|of those)([.,;:)]|$)`), nil, `name the noun again`},
	{"in time", regexp.MustCompile(`(?i)\bin time([.,;:)]|$)`), nil, `say which limit: "within the start timeout", "before it ended"`},
	{"turn", regexp.MustCompile(`(?i)\b(its|their|the other's|a) turns?\b|\bby turns\b`), nil, `"then", "one after the other", "waits until"`},
	{"fronted", regexp.MustCompile(`(^|[.;:!?] )Of (a|an|the|all|each|every|any|this|that|these|those|it|them|two|three|several|what|such)\b`), nil, `subject, verb, object: begin with the subject`},
	{"causative", regexp.MustCompile(`(?i)\b(has|have|had|having) (it|them|itself|themselves|one|each|(the|a|an) (\w+ )?\w+) (be|do|go|run|end|take|make|give|wait|turn|stop|start|write|read|send|hold|call|answer|closed?|killed|written|started|stopped|served|called|sent|checked|made|given|done)\b`), regexp.MustCompile(`(?i)\b(that|which|to|can|must|may) \w+$`), `name the verb: registers, delays, makes, lets`},
	{"test has", regexp.MustCompile(`\b(Test|Fuzz|Benchmark)[A-Z]\w* has\b`), nil, `"TestX checks that ...", "TestX starts ..."`},
	{"tells of", regexp.MustCompile(`(?i)\b(tells?|told|telling|speaks?|spoke|knows?|knew|says?|said) (nothing |little |much |more |it )?of\b`), nil, `"reports", "describes", "says about", "knows"`},
	{"held against", regexp.MustCompile(`(?i)\b(held|holds?|holding) ([\w-]+ ){0,4}against\b`), nil, `"compares with", "checks"`},
	{"archaic", regexp.MustCompile(`(?i)\b(lest|thereof|therein|wherein|whereof|whence|thence|hitherto|hereby|thereby|thrice|nought|aught|albeit|ere|amongst|whilst|anew|afresh|save for|but for|none the less|ought)\b`), nil, `use the everyday word`},
	{"all but", regexp.MustCompile(`(?i)\b(all but|any but|none but|no other but)\b`), nil, `"except", "only"`},
	{"as is the", regexp.MustCompile(`(?i)\b(as is|as are|as does|as do|as has|as have|as did) (the|a|an|what|its?|that|this|each|any|all)\b`), nil, `two sentences, or "like the ..."`},
	{"of which", regexp.MustCompile(`(?i)\bof which\b`), nil, `two sentences, or begin with the noun: "one port is in use"`},
	{"shall", regexp.MustCompile(`(?i)\b(shall|is to be|are to be)\b`), nil, `"must", "can", or the plain verb`},
	{"at an end", regexp.MustCompile(`(?i)\b(comes?|came) to (nothing|its end|an end|rest)\b|\bis at an end\b`), nil, `"ends", "fails"`},
}

// known reports whether there is a rule of that name.
func known(name string) bool {
	return name == ruleLength || name == ruleType ||
		slices.ContainsFunc(rules, func(r rule) bool { return r.name == name })
}

// judge returns what breaks a rule in the passage.
func judge(p passage) []Finding {
	if p.kind == typeName {
		return judgeType(p)
	}
	var findings []Finding
	for _, r := range rules {
		for _, at := range r.pattern.FindAllStringIndex(p.text, -1) {
			if r.unless != nil && r.unless.MatchString(p.text[:at[1]]) {
				continue
			}
			findings = append(findings, Finding{"", p.line(at[0]), r.name, strings.TrimLeft(p.text[at[0]:at[1]], "[(\"'*_.,;:!? "), r.advice})
		}
	}
	if p.kind == testName {
		return findings
	}
	start := 0
	for _, sentence := range sentences(p.text) {
		if n := countWords(sentence); n > maxWords {
			findings = append(findings, Finding{"", p.line(start), ruleLength, begin(sentence), advise(n)})
		}
		start += len(sentence)
	}
	return findings
}

// participle matches what ends the name of a type that is not a noun.
var participle = regexp.MustCompile(`^([a-z]*[^e]ed|met|sent|held|kept|left|bound|given|taken|spoken|made|known|begun|gone|running|waiting|pending)$`)

func judgeType(p passage) []Finding {
	all := words(p.text)
	if last := all[len(all)-1]; participle.MatchString(last) {
		return []Finding{{"", p.line(0), ruleType, p.text, `a type is a noun: "attachedProcess", "rateLimitedConn"`}}
	}
	return nil
}

// sentenceEnd matches the end of a sentence: a mark, perhaps a closing quote or
// bracket, and a space.
var sentenceEnd = regexp.MustCompile("[.!?;][)\"'`*_]* +")

// abbreviation matches the end of a text that only looks like the end of a sentence.
var abbreviation = regexp.MustCompile(`(?i)\b(e\.g|i\.e|etc|vs|cf)\. +$`)

// sentences splits a text; joined, the parts are the text.
func sentences(text string) []string {
	var found []string
	start := 0
	for _, at := range sentenceEnd.FindAllStringIndex(text, -1) {
		if !abbreviation.MatchString(text[start:at[1]]) {
			found = append(found, text[start:at[1]])
			start = at[1]
		}
	}
	return append(found, text[start:])
}

var word = regexp.MustCompile(`[\pL\pN]`)

func countWords(sentence string) int {
	n := 0
	for field := range strings.FieldsSeq(sentence) {
		if word.MatchString(field) {
			n++
		}
	}
	return n
}

// begin returns the first words of a sentence.
func begin(sentence string) string {
	const shown = 6
	fields := strings.Fields(sentence)
	return strings.Join(fields[:min(shown, len(fields))], " ") + " ..."
}

func advise(n int) string {
	return fmt.Sprintf("%d words: make sentences of at most %d, better 25", n, maxWords)
}
