// What Argo CD and kstatus, on which Flux and Helm wait, make of objects: by their own code.
//
// Standard input: {"healthChecks": {"<group>/<kind>": "<Lua>"}, "objects": [{"live": {…}, "wanted": {…} or null}]}.
// Standard output: one verdict for each object, in the same order.
package main

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/argoproj/argo-cd/v3/pkg/apis/application/v1alpha1"
	"github.com/argoproj/argo-cd/v3/util/lua"
	"github.com/argoproj/gitops-engine/pkg/diff"
	"github.com/argoproj/gitops-engine/pkg/health"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

type question struct {
	HealthChecks map[string]string `json:"healthChecks"`
	Objects      []struct {
		Live   *unstructured.Unstructured `json:"live"`
		Wanted *unstructured.Unstructured `json:"wanted"`
	} `json:"objects"`
}

type opinion struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

type verdict struct {
	Argo      opinion `json:"argo"`
	Kstatus   opinion `json:"kstatus"`
	OutOfSync bool    `json:"outOfSync"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	var asked question
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	checks := lua.ResourceHealthOverrides{}
	for kind, script := range asked.HealthChecks {
		checks[kind] = v1alpha1.ResourceOverride{HealthLua: script}
	}
	verdicts := make([]verdict, 0, len(asked.Objects))
	for _, each := range asked.Objects {
		found, err := judge(each.Live, each.Wanted, checks)
		if err != nil {
			return fmt.Errorf("%s %s: %w", each.Live.GetKind(), each.Live.GetName(), err)
		}
		verdicts = append(verdicts, found)
	}
	return json.NewEncoder(os.Stdout).Encode(verdicts)
}

func judge(live, wanted *unstructured.Unstructured, checks lua.ResourceHealthOverrides) (verdict, error) {
	var found verdict
	argo, err := health.GetResourceHealth(live, checks)
	if err != nil {
		return found, err
	}
	if argo != nil { // no opinion on kinds without a check
		found.Argo = opinion{string(argo.Status), argo.Message}
	}
	computed, err := status.Compute(live)
	if err != nil {
		return found, err
	}
	found.Kstatus = opinion{string(computed.Status), computed.Message}
	if wanted != nil {
		compared, err := diff.Diff(wanted, live)
		if err != nil {
			return found, err
		}
		found.OutOfSync = compared.Modified
	}
	return found, nil
}
