package planfile_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/vmmigrate/vmmigrate/planfile"
)

const schemaFile = "../docs/plan-file.schema.json"

// judged is what the published schema says of a plan file's text.
func judged(t *testing.T) func(text []byte) error {
	t.Helper()
	schema, err := jsonschema.NewCompiler().Compile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	return func(text []byte) error {
		var document any
		if err := yaml.Unmarshal(text, &document); err != nil {
			return err
		}
		asJSON, err := json.Marshal(document)
		if err != nil {
			return err
		}
		decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(asJSON))
		if err != nil {
			return err
		}
		return schema.Validate(decoded)
	}
}

func TestWhatIsWrittenIsValidByThePublishedSchema(t *testing.T) {
	judge := judged(t)
	rapid.Check(t, func(t *rapid.T) {
		text := planfile.Format(files().Draw(t, "file"))
		if err := judge(text); err != nil {
			t.Fatalf("%v of\n%s", err, text)
		}
	})
	for _, bad := range []string{
		"version: 1\nvms: []\n", "version: 2\nvms:\n  - name: a\n", head + "    lvv: x\n", head + "    disks:\n      - {target: vda, size: 1000}\n",
		"version: 1\nkeys: {default: secret}\nvms:\n  - name: a\n", "version: 1\nkeys: {default: {file: /a, prompt: once}}\nvms:\n  - name: a\n",
	} {
		if judge([]byte(bad)) == nil {
			t.Errorf("the schema takes %q", bad)
		}
	}
}

// knows matches the list that an error of an unknown key gives.
var knows = regexp.MustCompile(`(?:it knows|one of) ([a-z, _-]+?)(?:, and never.*)?$`)

func TestTheSchemaHasTheKeysThatAreReadAndNoOthers(t *testing.T) {
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Properties map[string]object `json:"properties"`
		Defs       map[string]object `json:"$defs"`
	}
	var schema object
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	for what, part := range map[string]struct {
		object object
		text   string
	}{
		"the whole": {schema, "x: 1\nversion: 1\nvms:\n  - name: a\n"},
		"defaults":  {schema.Properties["defaults"], "version: 1\ndefaults: {x: 1}\nvms:\n  - name: a\n"},
		"keys":      {schema.Properties["keys"], "version: 1\nkeys: {x: 1}\nvms:\n  - name: a\n"},
		"a key":     {schema.Defs["key"], "version: 1\nkeys: {default: {x: 1}}\nvms:\n  - name: a\n"},
		"luks":      {schema.Defs["luks"], head + "    luks: {x: 1}\n"},
		"copy":      {schema.Defs["copy"], head + "    copy: {x: 1}\n"},
		"a VM":      {schema.Defs["vm"], head + "    x: 1\n"},
		"a disk":    {schema.Defs["disk"], head + "    disks:\n      - {target: vda, x: 1}\n"},
	} {
		_, err := planfile.Read([]byte(part.text))
		if err == nil {
			t.Errorf("%s: an unknown key is taken", what)
			continue
		}
		found := knows.FindStringSubmatch(err.Error())
		if found == nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		read := strings.Split(found[1], ", ")
		slices.Sort(read)
		if diff := cmp.Diff(slices.Sorted(maps.Keys(part.object.Properties)), read); diff != "" {
			t.Errorf("%s: schema and reader differ: %s", what, diff)
		}
	}
}
