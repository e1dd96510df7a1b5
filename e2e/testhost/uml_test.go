//go:build e2e

package testhost

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// program copies a program of the machine.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := copyFile("/bin/true", path); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAProgramDoesWithoutAVersionThatIsMarkedSo(t *testing.T) {
	path := program(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	needed, err := file.ImportedSymbols()
	if err != nil || len(needed) == 0 {
		t.Fatalf("what it needs: %v, %v", needed, err)
	}
	_ = file.Close()
	if err := dropVersion(path, needed[0].Version); err != nil {
		t.Fatal(err)
	}
	after, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	different := 0
	for i := range before {
		if before[i] != after[i] {
			different++
		}
	}
	if len(before) != len(after) || different != 1 {
		t.Errorf("%d bytes differ", different)
	}
	if out, err := exec.Command("readelf", "-V", path).CombinedOutput(); err != nil || !bytes.Contains(out, []byte("Name: "+needed[0].Version+"  Flags: WEAK")) {
		t.Errorf("%v\n%s", err, out)
	}
	if err := exec.Command(path).Run(); err != nil {
		t.Error(err)
	}
	// What it never needed is nothing to drop, and twice is once.
	for _, version := range []string{"GLIBC_9.9", needed[0].Version} {
		if err := dropVersion(path, version); err != nil {
			t.Error(err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, after) {
			t.Errorf("%s: changed, %v", version, err)
		}
	}
}

func TestAProgramThatIsNoneIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := dropVersion(path, "GLIBC_2.38"); err == nil {
		t.Error("no error")
	}
	// A table that ends in the middle, whatever it says, is an error and no panic.
	table := []byte{1, 0, 2, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 0, 0, 5, 0, 0, 0, 0, 0, 16, 0, 0, 0}
	for n := range table {
		if at, err := findVersion(table[:n], []byte("x\x00"), "y"); err == nil {
			t.Errorf("%d bytes of the table: %d", n, at)
		}
	}
}
