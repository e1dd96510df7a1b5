package main

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vmmigrate/vmmigrate/migrate"
)

func TestARehearsalAsJSONFitsItsSchema(t *testing.T) {
	var printed bytes.Buffer
	document := rehearsalDocument{VMs: []rehearsedVM{
		{VM: "imap", Clone: "imap-luks", Calls: []migrate.Call{
			{Step: migrate.Format, Disk: "vda", Argv: []string{"cryptsetup", "luksFormat"}, Secrets: []string{"the key"}},
			{Step: migrate.Copy, Disk: "vda", Itself: "copy"},
			{Step: migrate.Define, Libvirt: "virDomainDefineXMLFlags"},
		}},
		{VM: "web", Clone: "web-luks", Job: testJob, Calls: []migrate.Call{}},
	}}
	if err := writeDocument(&printed, document); err != nil {
		t.Fatal(err)
	}
	if n := judge(t, "rehearsal.schema.json", printed.Bytes()); n != 1 {
		t.Errorf("%d documents", n)
	}
}

func TestARehearsalIsCommandsThatAShellWouldSplitAlikeAndNoKey(t *testing.T) {
	got := rehearsal(rehearsalDocument{VMs: []rehearsedVM{
		{VM: "im'ap", Clone: "im'ap-luks", Calls: []migrate.Call{
			{Step: migrate.CreateVolume, Argv: []string{"lvcreate", "--name=a b", "--", "vg0"}},
			{Step: migrate.Format, Argv: []string{"cryptsetup", "luksFormat"}, Secrets: []string{"the key"}},
			{Step: migrate.RecoveryKey, Argv: []string{"cryptsetup", "luksAddKey"}, Secrets: []string{"the key", "the recovery key"}},
			{Step: migrate.Copy, Itself: "copy 1 GiB from /a to /b"},
			{Step: migrate.Define, Libvirt: `virDomainDefineXMLFlags("x")`},
		}},
		{VM: "web", Job: testJob},
	}})
	want := `# im'ap -> im'ap-luks
lvcreate '--name=a b' -- vg0
cryptsetup luksFormat <key on stdin>
cryptsetup luksAddKey <key on stdin> <the recovery key on fd 3>
# copy 1 GiB from /a to /b
libvirt: virDomainDefineXMLFlags("x")

# web: the job ` + testJob + ` goes on from where it stopped

# Nothing has been changed. A run draws its own job id and UUIDs, and looks around
# with further commands that change nothing.
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := rehearsal(rehearsalDocument{}); got != "# Nothing is left to do.\n" {
		t.Error(got)
	}
}
