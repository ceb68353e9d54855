// Command health applies kstatus' own rules and Argo CD's health rules to objects in every state that the operator can leave them
// in, and compares the verdicts with the expected ones.
//
//	health STATES ARGOCD-CM
//
// STATES is a JSON list of {state, object, kstatus, argocd}: the last two are what is expected. ARGOCD-CM is the ConfigMap with
// our customisations. Prints a table and, as its last line, "health: S states, V verdicts, W wrong".
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
)

// state is one object as the operator leaves it, and what tools should think of it.
type state struct {
	State   string                    `json:"state"`
	Object  unstructured.Unstructured `json:"object"`
	Kstatus string                    `json:"kstatus"`
	ArgoCD  string                    `json:"argocd"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: health STATES ARGOCD-CM")
		os.Exit(2)
	}
	wrong, err := run(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "health:", err)
		os.Exit(2)
	}
	if wrong > 0 {
		os.Exit(1)
	}
}

// run prints the table and returns the number of verdicts that are not as expected.
func run(statesFile, configMapFile string) (int, error) {
	content, err := os.ReadFile(statesFile)
	if err != nil {
		return 0, err
	}
	var states []state
	if err := json.Unmarshal(content, &states); err != nil {
		return 0, fmt.Errorf("%s: %w", statesFile, err)
	}
	if len(states) == 0 {
		return 0, fmt.Errorf("%s holds no state", statesFile)
	}
	rules, err := readRules(configMapFile)
	if err != nil {
		return 0, err
	}

	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "KIND\tSTATE\tKSTATUS\tARGO CD\tEXPECTED\t")
	wrong := 0
	for _, state := range states {
		object := &state.Object
		computed, err := status.Compute(object)
		if err != nil {
			return 0, fmt.Errorf("kstatus on %s: %w", state.State, err)
		}
		health, err := rules.health(object)
		if err != nil {
			return 0, fmt.Errorf("Argo CD's rule on %s: %w", state.State, err)
		}
		verdict := "as expected"
		if computed.Status.String() != state.Kstatus || health.Status != state.ArgoCD {
			verdict = fmt.Sprintf("WRONG: %s, %s", state.Kstatus, state.ArgoCD)
			wrong++
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t\n", object.GetKind(), state.State, computed.Status, health.Status, verdict)
	}
	if err := table.Flush(); err != nil {
		return 0, err
	}
	fmt.Printf("health: %d states, %d verdicts, %d wrong\n", len(states), 2*len(states), wrong)
	return wrong, nil
}
