// What PromQL expressions read, by Prometheus' own parser.
//
// Standard input: a list of expressions. Standard output: for each, in the same order, its series and their labels:
// those that they are selected by, and those that what stands around them groups or matches by.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

type matcher struct {
	Label string `json:"label"`
	Op    string `json:"op"`
	Value string `json:"value"`
}

type series struct {
	Metric   string    `json:"metric"`
	Matchers []matcher `json:"matchers"`
	Labels   []string  `json:"labels"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var expressions []string
	if err := json.NewDecoder(os.Stdin).Decode(&expressions); err != nil {
		return err
	}
	answers := make([][]series, len(expressions))
	for i, expression := range expressions {
		parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expression)
		if err != nil {
			return fmt.Errorf("%s: %w", expression, err)
		}
		answers[i] = reads(parsed, nil)
	}
	return json.NewEncoder(os.Stdout).Encode(answers)
}

// reads returns the series below a node; wanted are the labels that something above the node needs of them.
func reads(node parser.Node, wanted []string) []series {
	switch found := node.(type) {
	case *parser.VectorSelector:
		return []series{selected(found, wanted)}
	case *parser.AggregateExpr:
		if found.Without {
			return below(found, wanted)
		}
		// What is above sees the grouping's labels alone, so whatever it needs has to be one of them.
		return below(found, append(slices.Clone(wanted), found.Grouping...))
	case *parser.Call:
		switch found.Func.Name {
		case "histogram_quantile":
			return below(found, append(slices.Clone(wanted), labels.BucketLabel))
		case "absent", "absent_over_time", "scalar", "vector":
			return below(found, nil) // their result has no label of what they read
		}
	case *parser.BinaryExpr:
		if found.VectorMatching != nil && found.VectorMatching.On {
			wanted = append(slices.Clone(wanted), found.VectorMatching.MatchingLabels...)
		}
	}
	return below(node, wanted)
}

func below(node parser.Node, wanted []string) []series {
	var found []series
	for child := range parser.ChildrenIter(node) {
		found = append(found, reads(child, wanted)...)
	}
	return found
}

func selected(selector *parser.VectorSelector, wanted []string) series {
	found := series{Metric: selector.Name, Labels: slices.Clone(wanted)}
	for _, each := range selector.LabelMatchers {
		if each.Name == labels.MetricName {
			continue
		}
		found.Matchers = append(found.Matchers, matcher{each.Name, each.Type.String(), each.Value})
		found.Labels = append(found.Labels, each.Name)
	}
	slices.Sort(found.Labels)
	found.Labels = slices.Compact(found.Labels)
	return found
}
