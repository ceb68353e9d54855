package main

import (
	"fmt"
	"os"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// customisation is the prefix of the entries of argocd-cm that hold the health rule of a kind: prefix + GROUP_KIND.
const customisation = "resource.customizations.health."

// argoHealth is what a rule returns.
type argoHealth struct{ Status, Message string }

// rules are the Lua sources of a ConfigMap, by GROUP_KIND.
type rules map[string]string

func readRules(file string) (rules, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var configMap struct {
		Data map[string]string `json:"data"`
	}
	if err := yaml.Unmarshal(content, &configMap); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	found := rules{}
	for entry, source := range configMap.Data {
		if kind, is := strings.CutPrefix(entry, customisation); is {
			found[kind] = source
		}
	}
	return found, nil
}

// health runs the rule as Argo CD does: in gopher-lua, with the base and table libraries only and the object as the global obj.
func (rules rules) health(object *unstructured.Unstructured) (argoHealth, error) {
	kind := object.GroupVersionKind().Group + "_" + object.GetKind()
	source, is := rules[kind]
	if !is {
		return argoHealth{}, fmt.Errorf("there is no rule for %s", kind)
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		if err := state.PCall(1, 0, nil); err != nil {
			return argoHealth{}, err
		}
	}
	state.SetGlobal("obj", toLua(state, object.Object))
	if err := state.DoString(source); err != nil {
		return argoHealth{}, err
	}
	table, is := state.Get(-1).(*lua.LTable)
	if !is {
		return argoHealth{}, fmt.Errorf("it returned %s, not a table", state.Get(-1).Type())
	}
	health := argoHealth{lua.LVAsString(table.RawGetString("status")), lua.LVAsString(table.RawGetString("message"))}
	switch health.Status {
	case "Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown":
		return health, nil
	}
	return argoHealth{}, fmt.Errorf("Argo CD knows no health %q", health.Status)
}

// toLua turns what was read from JSON into Lua's values: lists from 1, null as nil.
func toLua(state *lua.LState, value any) lua.LValue {
	switch value := value.(type) {
	case bool:
		return lua.LBool(value)
	case float64:
		return lua.LNumber(value)
	case int64:
		return lua.LNumber(value)
	case string:
		return lua.LString(value)
	case []any:
		table := state.NewTable()
		for _, item := range value {
			table.Append(toLua(state, item))
		}
		return table
	case map[string]any:
		table := state.NewTable()
		for key, item := range value {
			table.RawSetString(key, toLua(state, item))
		}
		return table
	}
	return lua.LNil
}
