package main

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/vmmigrate/vmmigrate/lifecycle"
	"github.com/vmmigrate/vmmigrate/migrate"
	"github.com/vmmigrate/vmmigrate/succession"
)

const docs = "../../docs/"

func TestTheSchemasInDocsAreThoseOfTheDocuments(t *testing.T) {
	s := &schemas{t: t, sources: make(map[string]*source)}
	for name, schema := range map[string]object{
		"plan.schema.json":          s.document("plan.schema.json", "vmmigrate plan --output json", reflect.TypeFor[planDocument]()),
		"rehearsal.schema.json":     s.document("rehearsal.schema.json", "vmmigrate run --dry-run --output json", reflect.TypeFor[rehearsalDocument]()),
		"jobs.schema.json":          s.document("jobs.schema.json", "vmmigrate jobs --output json", reflect.TypeFor[jobsDocument]()),
		"verify.schema.json":        s.document("verify.schema.json", "vmmigrate verify --output json", reflect.TypeFor[verifyDocument]()),
		"status.schema.json":        s.document("status.schema.json", "vmmigrate status --output json", reflect.TypeFor[lifecycle.Report]()),
		"trim.schema.json":          s.document("trim.schema.json", "vmmigrate trim check --output json", reflect.TypeFor[lifecycle.Trim]()),
		"header-backup.schema.json": s.document("header-backup.schema.json", "vmmigrate header backup --output json", reflect.TypeFor[headerBackupDocument]()),
		"header-check.schema.json":  s.document("header-check.schema.json", "vmmigrate header check --output json", reflect.TypeFor[headerCheckDocument]()),
		"life-events.schema.json":   s.document("life-events.schema.json", "A line of vmmigrate start, stop, unlock, lock, header restore and key --output json", reflect.TypeFor[lifeEvent]()),
		"retirement.schema.json":    s.document("retirement.schema.json", "The record that vmmigrate retire leaves", reflect.TypeFor[succession.RetireRecord]()),
		"events.schema.json":        s.events("events.schema.json"),
	} {
		var b strings.Builder
		if err := writeDocument(&b, schema); err != nil {
			t.Fatal(err)
		}
		golden(t, docs+name, b.String())
	}
}

// judge validates documents, one or one a line, against a schema in docs/.
func judge(t *testing.T, schema string, printed []byte) (documents int) {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiled, err := compiler.Compile(docs + schema)
	if err != nil {
		t.Fatal(err)
	}
	decoder := json.NewDecoder(bytes.NewReader(printed))
	decoder.UseNumber()
	for {
		var document any
		if err := decoder.Decode(&document); err == io.EOF {
			return documents
		} else if err != nil {
			t.Fatal(err)
		}
		if err := compiled.Validate(document); err != nil {
			t.Errorf("%s: %v", schema, err)
		}
		documents++
	}
}

// printing has a session print JSON.
func printing(stateDir string) (*session, *bytes.Buffer) {
	out := new(bytes.Buffer)
	return &session{streams: streams{out: out, err: io.Discard}, machine: testMachine(), json: true, stateDir: stateDir}, out
}

func TestEveryEventIsInTheWordsOfTheSchema(t *testing.T) {
	s, out := printing("")
	r := s.reporter()
	for _, e := range journey("mail server (alt)") {
		r.Report(e)
	}
	r.Report(migrate.Event{Event: migrate.JobStarted, Time: testTime(), Job: testJob, VM: "imap", Message: "rollback"})
	r.Report(migrate.Event{Event: migrate.JobDone, Time: testTime(), Job: testJob, VM: "imap", Message: "rolled back"})
	r.Report(migrate.Event{Event: migrate.Progress, Time: testTime(), Job: testJob, VM: "imap", Step: migrate.Copy, Disk: "vda", Bytes: 7, Total: 7})
	for _, c := range explained() {
		r.failed(testJob, "imap", c.err)
	}
	if n := judge(t, "events.schema.json", out.Bytes()); n < 100 {
		t.Errorf("%d events only", n)
	}
	if strings.Count(out.String(), "\n") != strings.Count(out.String(), `"event":`) {
		t.Error("an event is not one line")
	}
}

// The words are those that scripts were promised (docs, "Events").
func TestEachEventHasTheWordsOfTheContract(t *testing.T) {
	promised := map[string][]string{
		"job-started":  {},
		"step-started": {"step", "disk"},
		"step-done":    {"step", "disk", "seconds"},
		"progress":     {"disk", "bytes", "total", "bytes_per_second", "eta_seconds"},
		"warning":      {"message"},
		"job-done":     {"clone", "seconds"},
		"job-failed":   {"error", "step", "exit_code", "next"},
	}
	s, out := printing("")
	r := s.reporter()
	for _, e := range journey("imap") {
		r.Report(e)
	}
	r.failed(testJob, "imap", stopped(migrate.Copy, &migrate.InterruptedError{Why: "SIGINT"}))
	found := make(map[string][]string)
	for line := range strings.Lines(out.String()) {
		var words map[string]any
		if err := json.Unmarshal([]byte(line), &words); err != nil {
			t.Fatal(err)
		}
		name := words["event"].(string)
		for word := range words {
			if !slices.Contains(found[name], word) {
				found[name] = append(found[name], word)
			}
		}
		if _, err := time.Parse(time.RFC3339, words["time"].(string)); err != nil || words["job"] != testJob || words["vm"] != "imap" {
			t.Errorf("time, job or vm is not there: %s", line)
		}
	}
	for name, words := range promised {
		for _, word := range words {
			if !slices.Contains(found[name], word) {
				t.Errorf("%s has no %s: %v", name, word, found[name])
			}
		}
	}
}

func TestAReaderThatWentAwayDoesNotStopTheReporter(t *testing.T) {
	reader, writer := io.Pipe()
	_ = reader.Close()
	s := &session{streams: streams{out: writer, err: writer}, json: true}
	r := s.reporter()
	for _, e := range journey("imap") {
		r.Report(e)
	}
	r.end()
}

func TestTheJobsDocumentFitsItsSchema(t *testing.T) {
	for _, states := range [][]string{{}, {"interrupted"}, {"interrupted", "rolling-back", "done", "damaged"}} {
		dir := t.TempDir()
		for i, state := range states {
			if err := writeJob(dir, state, testJob+string(rune('a'+i)), "imap"); err != nil {
				t.Fatal(err)
			}
		}
		s, out := printing(dir)
		if err := run(t.Context(), []string{"vmmigrate", "--state-dir", dir, "--output", "json", "jobs"}, s.streams, s.machine); err != 0 {
			t.Fatalf("exit code %d", err)
		}
		if judge(t, "jobs.schema.json", out.Bytes()) != 1 {
			t.Error("it is not one document")
		}
	}
}

func TestThePlanDocumentFitsItsSchema(t *testing.T) {
	full := new(migrate.Plan)
	s := &schemas{t: t, sources: make(map[string]*source)}
	s.fill(reflect.ValueOf(full).Elem())
	bare := &migrate.Plan{VM: "täst", Options: migrate.Options{LUKS: migrate.DefaultLUKS()}, Blockers: []migrate.Finding{{Code: migrate.NoDisk, Message: "it has no disk"}}}
	for _, plans := range [][]*migrate.Plan{{}, {bare}, {full, bare}} {
		_, out := printing("")
		document := newPlanDocument(plans, make([]migrate.Estimate, len(plans)), make([]xmlDiff, len(plans)))
		if err := writeDocument(out, document); err != nil {
			t.Fatal(err)
		}
		if judge(t, "plan.schema.json", out.Bytes()) != 1 {
			t.Error("it is not one document")
		}
	}
}

// fill gives every field some value that it may have.
func (s *schemas) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
		if values := s.source(v.Type()).values[v.Type().Name()]; len(values) > 0 {
			v.SetString(values[0])
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		s.fill(v.Index(0))
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		s.fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("x"), value)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(testTime()))
			return
		}
		for i := range v.NumField() {
			s.fill(v.Field(i))
		}
	}
}

func TestTheRecordOfARetirementFitsItsSchema(t *testing.T) {
	full := new(succession.RetireRecord)
	(&schemas{t: t, sources: make(map[string]*source)}).fill(reflect.ValueOf(full).Elem())
	bare := succession.RetireRecord{Method: succession.Zero, Disks: []succession.DiskRecord{}, Removed: []string{}, Errors: []string{}, Limits: []string{}}
	for _, record := range []succession.RetireRecord{*full, bare} {
		_, out := printing("")
		if err := writeDocument(out, record); err != nil {
			t.Fatal(err)
		}
		if judge(t, "retirement.schema.json", out.Bytes()) != 1 {
			t.Error("it is not one document")
		}
	}
}

func TestTheVerifyDocumentFitsItsSchema(t *testing.T) {
	for _, v := range []migrate.Verification{
		{Target: "vda", Source: "/dev/vg0/imap_hd0", Device: "/dev/mapper/cr_imap_vda", Bytes: 1, Equal: true, Digest: "ab", Recorded: "ab"},
		{Target: "vda", Source: "/dev/vg0/imap_hd0", Device: "/dev/mapper/cr_imap_vda", Bytes: 1, Difference: "chunk 7"},
	} {
		_, out := printing("")
		if err := writeDocument(out, verifyDocument{testJob, "imap", v.Equal, []migrate.Verification{v}}); err != nil {
			t.Fatal(err)
		}
		judge(t, "verify.schema.json", out.Bytes())
	}
}

// A schema that takes everything would pass all tests above.
func TestTheSchemasRefuseWhatIsWrong(t *testing.T) {
	for schema, wrong := range map[string][]string{
		"events.schema.json": {`{}`, `{"event":"job-started"}`, `{"event":"job-exploded","time":"2026-11-22T09:30:12Z","job":"a","vm":"b"}`, `{"event":"job-started","time":"noon","job":"a","vm":"b"}`, `{"event":"job-started","time":"2026-11-22T09:30:12Z","job":"a","vm":"b","key":"s3cret"}`},
		"jobs.schema.json":   {`{}`, `{"jobs":null}`, `{"jobs":[{"job":"a","state":"asleep"}]}`},
		"plan.schema.json":   {`{}`, `{"plans":[{}]}`},
		"verify.schema.json": {`{}`, `{"job":"a","vm":"b","equal":"yes","disks":[]}`},
	} {
		compiler := jsonschema.NewCompiler()
		compiler.AssertFormat()
		compiled, err := compiler.Compile(docs + schema)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range wrong {
			document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if compiled.Validate(document) == nil {
				t.Errorf("%s takes %s", schema, text)
			}
		}
	}
}
