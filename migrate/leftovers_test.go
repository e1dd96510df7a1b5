package migrate

import (
	"os"
	"path/filepath"
	"testing"
)

func TestARecordThatAKillLeftHalfMadeGoesWithTheRecord(t *testing.T) {
	job := &Job{Dir: t.TempDir()}
	keep := []string{"journal", "vdb.chunks", ".vdb.chunks123", "vda.luks-header"}
	for _, name := range append(keep, "vda.chunks", ".vda.chunks4660662925261235454") {
		if err := os.WriteFile(filepath.Join(job.Dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := dropChunks(job, &DiskPlan{Target: "vda"}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(job.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(keep) {
		t.Errorf("left: %v", entries)
	}
}
