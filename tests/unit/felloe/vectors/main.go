// Prints what sigs.k8s.io/yaml and sigs.k8s.io/json (the two that kubectl, Flux and the API server read manifests with)
// make of each YAML text on stdin: a JSON list of strings in, a JSON list of {"yaml", "json"} or {"yaml", "error"} out.
package main

import (
	"encoding/json"
	"os"

	k8sjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

func main() {
	var texts []string
	if err := json.NewDecoder(os.Stdin).Decode(&texts); err != nil {
		panic(err)
	}
	type vector struct {
		YAML  string `json:"yaml"`
		JSON  string `json:"json,omitempty"`
		Error string `json:"error,omitempty"`
	}
	vectors := []vector{}
	for _, text := range texts {
		one := vector{YAML: text}
		encoded, err := yaml.YAMLToJSON([]byte(text))
		var value any
		if err == nil {
			err = k8sjson.UnmarshalCaseSensitivePreserveInts(encoded, &value)
		}
		if err == nil {
			encoded, err = json.Marshal(value)
		}
		if err != nil {
			one.Error = err.Error()
		} else {
			one.JSON = string(encoded)
		}
		vectors = append(vectors, one)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	if err := out.Encode(vectors); err != nil {
		panic(err)
	}
}
