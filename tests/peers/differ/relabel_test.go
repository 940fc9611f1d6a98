// SPDX-License-Identifier: Apache-2.0

package differ

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"unicode"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/relabel"
)

var (
	relabelActions = []relabel.Action{relabel.Replace, relabel.Keep, relabel.Drop, relabel.KeepEqual, relabel.DropEqual,
		relabel.HashMod, relabel.LabelMap, relabel.LabelDrop, relabel.LabelKeep, relabel.Lowercase, relabel.Uppercase}
	relabelNames  = []string{"__name__", "a", "ab", "b", "ax", "bx", "x", "instance", "job", "é", "label.with dot", "__tmp"}
	relabelValues = []string{"a", "b", "ab", "foo", "Foo", "go_gc_seconds", "10.0.0.1:9090", "host-1.example:80", "a;b", "x\ny",
		"$1", "日本語", "ÄÖÜ ß ŉ ǅ", "İıſK", "", "0", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}
	relabelRegexes = []string{"(.*)", "(.+)", ".*", ".+", "", "a", "a|b", "(a|b)", "(a)|(b)", "a(.*)", "(a)(b)?", "(.*):(.*)", "([^:]+):\\d+",
		"go_.*", "(go_)(.*)", "(?i)FOO", "(?P<n>.*)o", "(?P<n1>.)(.*)", "(?<n>a)b|(b)", ".*o$", "^a.*", "(.)(.)(.)?.*", "((a)(b))", "(.*?)(b?)",
		"[ab](x)", "(x?)(.*)", "__(.*)__", "\\w+", "(\\pL+).*", "(?s).*", "(?-s).*", "(?:a|b)x", "(a|ab)(c|bcd)?(x*)", "x*", "(|a)+", "(a*)*",
		"a{2,5}(.*)", "(foo|bar|10\\.0\\.0\\.1:9090)", "(foo)?", "(", "a)(b", "[", "*", "(?P<n>a)(?P<n>b)", "\\Qa\\E", "(a))"}
	relabelTemplates = []string{"$1", "${1}", "$0", "$2$1", "x$1", "x_${1}_$2", "$1x", "$$1", "$", "a$", "${", "${}", "${1", "$n", "${n}-$1", "$n1", "${n1}x", "$é",
		"$1é", "$3", "$01", "$99", "${10}", "", "const", "a", "ab", "é", "$$", "${1}${2}${3}", "$-$1", "$ $0", "$_", "job", "x", "$1$1$1$1", "日$1本"}
)

func relabelText(r *rand.Rand, from []string) string {
	if chance(r, 5) {
		return pick(r, from...) + pick(r, from...)
	}
	return pick(r, from...)
}

func randomRule(r *rand.Rand) relabel.Config {
	c := relabel.DefaultRelabelConfig
	c.Action = pick(r, relabelActions...)
	if c.Action == relabel.Replace || c.Action == relabel.LabelMap || chance(r, 8) {
		if chance(r, 85) {
			c.Replacement = relabelText(r, relabelTemplates)
		}
	}
	names := c.Action == relabel.LabelDrop || c.Action == relabel.LabelKeep
	if !names || chance(r, 8) {
		for range pick(r, 0, 1, 1, 1, 2, 2, 3) {
			c.SourceLabels = append(c.SourceLabels, model.LabelName(pick(r, relabelNames...)))
		}
		if chance(r, 20) {
			c.Separator = pick(r, "", ";", "-", "::", "é")
		}
		c.TargetLabel = pick(r, relabelNames...)
		if c.Action == relabel.Replace && chance(r, 40) {
			c.TargetLabel = relabelText(r, relabelTemplates)
		}
		if chance(r, 4) {
			c.TargetLabel = ""
		}
	}
	if c.Action == relabel.HashMod || chance(r, 4) {
		c.Modulus = pick(r, uint64(0), 1, 2, 3, 10, 1000, 1<<63, 1<<64-1)
	}
	return c
}

// withRegex gives c a random regex. Rules for which a regex makes no sense get one too.
func withRegex(r *rand.Rand, c *relabel.Config) (text string, err error) {
	equals := c.Action == relabel.KeepEqual || c.Action == relabel.DropEqual
	if equals && chance(r, 90) || chance(r, 15) {
		return "(.*)", nil
	}
	if text = relabelText(r, relabelRegexes); text != "(.*)" {
		c.Regex, err = relabel.NewRegexp(text)
	}
	return text, err
}

func ruleParts(c *relabel.Config, regex string) []byte {
	out := part(string(c.Action))
	out = append(out, byte(len(c.SourceLabels)))
	for _, name := range c.SourceLabels {
		out = append(out, part(string(name))...)
	}
	for _, text := range []string{c.Separator, regex, c.TargetLabel, c.Replacement} {
		out = append(out, part(text)...)
	}
	return binary.LittleEndian.AppendUint64(out, c.Modulus)
}

func randomLabelSet(r *rand.Rand) labels.Labels {
	all := map[string]string{"__name__": pick(r, "up", "go_gc_seconds", "requests_total")}
	for range r.IntN(8) {
		all[pick(r, relabelNames...)] = relabelText(r, relabelValues)
	}
	return labels.FromMap(all)
}

// prometheusRelabels is what becomes of the labels, one line each. A label whose name labelmap made empty, which no
// receiver takes, is taken out: we do not make it.
func prometheusRelabels(before labels.Labels, rules []*relabel.Config) string {
	lb := labels.NewBuilder(before)
	for _, rule := range rules {
		if !relabel.ProcessBuilder(lb, rule) {
			return "dropped\n"
		}
		lb.Del("")
	}
	var lines []string
	lb.Labels().Range(func(l labels.Label) { lines = append(lines, fmt.Sprintf("%x %x\n", l.Name, l.Value)) })
	sort.Strings(lines)
	return strings.Join(lines, "")
}

// unbalanced says that a pattern is one only inside the group that Prometheus puts around it.
func unbalanced(regex string) bool {
	return strings.Contains(regex, "a)(b") || strings.Contains(regex, "(a))")
}

func TestRelabel(t *testing.T) {
	r, o := newRandom(), startOurs(t)
	var kept, dropped, refused int
	for n := range 10 * *cases {
		var rules []*relabel.Config
		var question, regexes []byte
		wrong := ""
		for range 1 + r.IntN(4) {
			c := randomRule(r)
			regex, err := withRegex(r, &c)
			if unbalanced(regex) {
				regex = "(a)(b)"
				c.Regex, err = relabel.NewRegexp(regex)
			}
			invalid := c.Validate(model.UTF8Validation)
			if err == nil {
				err = invalid
			}
			if err != nil && wrong == "" {
				wrong = fmt.Sprintf("rule %d: %v", len(rules)+1, err)
			}
			rules = append(rules, &c)
			question = append(question, ruleParts(&c, regex)...)
			regexes = append(regexes, fmt.Sprintf("\n  %+v regex %q", c, regex)...)
		}
		before := randomLabelSet(r)
		set := []byte{byte(before.Len())}
		before.Range(func(l labels.Label) { set = append(set, append(part(l.Name), part(l.Value)...)...) })
		got, failure := o.askOutcome('l', []byte{byte(len(rules))}, question, set)
		switch {
		case wrong != "" && failure != "":
			refused++
			if !strings.Contains(failure, "relabel "+wrong[:len("rule 1")]) {
				t.Fatalf("case %d: Prometheus refuses %s, ours %s%s", n, wrong, failure, regexes)
			}
		case wrong != "" || failure != "":
			t.Fatalf("case %d: Prometheus refuses %q, ours %q%s", n, wrong, failure, regexes)
		default:
			wanted := prometheusRelabels(before, rules)
			if string(got) != wanted {
				t.Fatalf("case %d: %v becomes\n%s with Prometheus,\n%s with ours%s", n, before, wanted, got, regexes)
			}
			if wanted == "dropped\n" {
				dropped++
			} else {
				kept++
			}
		}
	}
	t.Logf("kept %d, dropped %d, refused rules %d", kept, dropped, refused)
	if kept == 0 || dropped == 0 || refused == 0 {
		t.Error("not every kind of case came up")
	}
}

// Every code point in upper and in lower case.
func TestLetterCase(t *testing.T) {
	o := startOurs(t)
	var rules []byte
	for _, action := range []relabel.Action{relabel.Uppercase, relabel.Lowercase} {
		c := relabel.DefaultRelabelConfig
		c.Action, c.SourceLabels, c.TargetLabel = action, model.LabelNames{"in"}, string(action)
		rules = append(rules, ruleParts(&c, "(.*)")...)
	}
	for low := rune(1); low <= unicode.MaxRune; low += 128 {
		var text strings.Builder
		for c := low; c < low+128 && c <= unicode.MaxRune; c++ {
			text.WriteRune(c)
		}
		in := text.String()
		got, failure := o.askOutcome('l', []byte{2}, rules, []byte{1}, part("in"), part(in))
		wanted := fmt.Sprintf("%x %x\n%x %x\n%x %x\n", "in", in, "lowercase", strings.ToLower(in), "uppercase", strings.ToUpper(in))
		if failure != "" || string(got) != wanted {
			t.Fatalf("from %U on: %s\n%s\nis with Prometheus\n%s", low, failure, got, wanted)
		}
	}
}
